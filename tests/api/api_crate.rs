//! The API crate of `examples/api_crate`: its client builds nothing of what the node needs.

use std::process::Command;

/// What only the node needs.
const OF_THE_NODE: &str = "unicode-segmentation";

/// The packages that `package` is linked with, itself included.
fn linked_with(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(["--locked", "--offline", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_client_does_not_link_what_the_node_needs() {
    let node = linked_with("api-crate-node");
    assert!(node.iter().any(|package| package == OF_THE_NODE), "{node:?}");
    let client = linked_with("api-crate-client");
    for shared in ["api-crate", "easyremote"] {
        assert!(client.iter().any(|package| package == shared), "{client:?}");
    }
    for of_the_node in [OF_THE_NODE, "api-crate-node"] {
        assert!(client.iter().all(|package| package != of_the_node), "{client:?}");
    }
}
