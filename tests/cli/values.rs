//! Generated values, there and back through `easyremote call`.

use easyremote::{functions, remote};
use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::tool::Rig;

#[remote]
fn same(value: Value) -> Value {
    value
}

#[remote]
fn same_text(text: String) -> String {
    text
}

fn any_text(rng: &mut Rng) -> String {
    const ODD: [char; 12] =
        ['"', '\\', '\n', '\u{1b}', '\u{7f}', 'é', '語', '🦀', '\u{202e}', '-', ' ', '\''];
    (0..rng.usize(..12))
        .map(|_| if rng.bool() { ODD[rng.usize(..ODD.len())] } else { rng.alphanumeric() })
        .collect()
}

fn any_value(rng: &mut Rng, depth: u32) -> Value {
    match rng.u32(..if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.u64(..)),
        3 => json!(rng.i64(..)),
        4 => json!([u64::MAX as i128, i64::MIN as i128, 0, -1, 1 << 53].map(|n| n as i64)),
        // Exact in few digits, so that no parser can differ.
        5 => json!(f64::from(rng.i32(..)) / 256.0),
        6 => json!(any_text(rng)),
        7 => (0..rng.usize(..4)).map(|_| any_value(rng, depth - 1)).collect(),
        _ => Value::Object(
            (0..rng.usize(..4))
                .map(|_| (any_text(rng), any_value(rng, depth - 1)))
                .collect::<Map<_, _>>(),
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_back_as_they_were() {
    let rig = Rig::with(functions![same, same_text]).await;
    let mut rng = Rng::with_seed(7);
    for round in 0..40 {
        let value = any_value(&mut rng, 3);
        let arguments = json!([value]).to_string();
        let ended = match round % 3 {
            0 => rig.fed(&["call", "same", "-"], &arguments).await,
            1 => rig.run(&["call", "same", &arguments]).await,
            _ => rig.run(&["--json", "call", "same", &json!({ "value": value }).to_string()]).await,
        };
        assert_eq!((ended.code, ended.json()), (Some(0), value), "{ended:?}");
    }
    for _ in 0..20 {
        let text = any_text(&mut rng);
        let word = json!(text).to_string();
        let ended = rig.run(&["call", "same_text", &word]).await;
        assert_eq!((ended.code, ended.json()), (Some(0), json!(text)), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_would_change_is_refused() {
    let rig = Rig::with(functions![same]).await;
    for word in ["18446744073709551616", "[[-9223372036854775809]]"] {
        let ended = rig.run(&["--json", "call", "same", word]).await;
        assert_eq!((ended.code, &ended.error()["kind"]), (Some(2), &json!("Usage")), "{word}");
    }
}
