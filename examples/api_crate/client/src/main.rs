//! A client of the API crate: `cargo run -p api-crate-client` runs it with a gateway and a node.
//!
//! It links none of the node's code. To make one command enough, it also starts a gateway, in this
//! process, and the node, in another process.

use std::process::Stdio;

use easyremote::{Client, Gateway};
use futures::TryStreamExt;
use tokio::process::{Child, Command};

const TEXT: &str =
    "Functions are declared once. Nodes implement them; clients call them. That's it!";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let mut node = node(&gateway)?;
    let client = Client::connect(gateway.local_addr()).await?;

    // cargo may have to build the node first, so the declared timeout is too short.
    let patience = std::time::Duration::from_secs(300);
    let summary = api::summarize::call(&client, TEXT.into()).wait_for_node().timeout(patience);
    let summary = summary.await?;
    println!("{} words, the longest is `{}`", summary.words, summary.longest);

    let sentences: Vec<String> = api::sentences::call(&client, TEXT.into()).try_collect().await?;
    println!("{} sentences:", sentences.len());
    sentences.iter().for_each(|sentence| println!("  {sentence}"));

    drop(node.stdin.take()); // the node ends with its input
    node.wait().await?;
    Ok(())
}

/// Starts the node in a separate process.
fn node(gateway: &Gateway) -> std::io::Result<Child> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Remove the variables that cargo sets for this package: build scripts read them, and changed
    // values would rebuild the dependencies.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
        .args(["run", "--quiet", "--package", "api-crate-node"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("EASYREMOTE_GATEWAY", gateway.local_addr().to_string())
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}
