//! `easyremote gen`. What it writes is run by the target `python`.

use easyremote::{functions, remote};

use crate::tool::{Rig, ended, tool};

/// Adds two numbers.
#[remote]
fn add(a: u8, b: u8) -> u16 {
    u16::from(a) + u16::from(b)
}

#[remote(stream)]
fn count(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

#[tokio::test(flavor = "multi_thread")]
async fn stubs_come_from_a_gateway_or_from_a_file() {
    let rig = Rig::with(functions![add, count]).await;
    let from_gateway = rig.run(&["gen", "python"]).await;
    assert_eq!((from_gateway.code, &*from_gateway.err), (Some(0), ""));
    let add =
        "    def add(self, /, a: int, b: int) -> int:\n        \"\"\"Adds two numbers.\"\"\"\n";
    assert!(from_gateway.out.contains(add), "{}", from_gateway.out);
    assert!(from_gateway.out.contains("def count(self, /, to: int) -> AsyncStream[int]:"));
    let files = tempfile::tempdir().unwrap();
    let (saved, written) = (files.path().join("schemas.json"), files.path().join("stubs.py"));
    let (saved, written) = (saved.to_str().unwrap(), written.to_str().unwrap());
    let listed = rig.run(&["--json", "ls", "--schemas"]).await;
    std::fs::write(saved, &listed.out).unwrap();
    // Without a gateway.
    let rest = ["gen", "python", "--schemas", saved];
    let mut without = tool();
    without.args(rest).args(["--gateway", "127.0.0.1:1", "--out", written]);
    let ended = ended(without).await;
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", ""));
    assert_eq!(std::fs::read_to_string(written).unwrap(), from_gateway.out);
    let described = rig.run(&["--json", "describe", "count"]).await;
    std::fs::write(saved, &described.out).unwrap();
    let one = rig.run(&["gen", "python", "count"]).await.out;
    assert!(!one.contains("def add(") && one.contains("def count("), "{one}");
    assert_eq!(rig.run(&rest).await.out, one);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told() {
    let rig = Rig::with(functions![add]).await;
    let ended = rig.run(&["--json", "gen", "python", "add", "no_such"]).await;
    assert_eq!((ended.code, &ended.error()["kind"]), (Some(5), &"NoSuchFunction".into()));
    let files = tempfile::tempdir().unwrap();
    let saved = files.path().join("schemas.json");
    let saved = saved.to_str().unwrap();
    for wrong in ["", "{}", "[1]", "{\"functions\": 1}"] {
        std::fs::write(saved, wrong).unwrap();
        let ended = rig.run(&["--json", "gen", "python", "--schemas", saved]).await;
        assert_eq!((ended.code, &ended.error()["kind"]), (Some(2), &"Usage".into()), "{wrong}");
    }
    // A list without schemas is enough for names.
    let listed = rig.run(&["--json", "ls"]).await;
    std::fs::write(saved, &listed.out).unwrap();
    let ended = rig.run(&["gen", "python", "--schemas", saved]).await;
    assert!(ended.out.contains("def add(self, /, a: Any, b: Any) -> Any:"), "{ended:?}");
    assert!(ended.err.contains("`add` has no schemas"), "{ended:?}");
    let mut twice = listed.json();
    let mut other = twice["functions"][0].clone();
    other["signature"] = "(c: u8) -> u8".into();
    twice["functions"].as_array_mut().unwrap().push(other);
    std::fs::write(saved, twice.to_string()).unwrap();
    let ended = rig.run(&["gen", "python", "--schemas", saved]).await;
    assert!(ended.err.contains("`add` has several types"), "{ended:?}");
    assert_eq!(ended.out.matches(" def add(").count(), 2, "{ended:?}");
    let ended = rig.run(&["gen", "python", "--out", "/no/such/directory/stubs.py"]).await;
    assert_eq!(ended.code, Some(1));
}
