//! The functions of the quickstart, as programs that know nothing of this project read of them and
//! call them. Without these programs the tests say so and pass.

#[allow(dead_code)]
#[path = "../../../examples/quickstart.rs"]
mod quickstart;

use easyremote::functions;
use openapi::{Site, fuzz, use_client, validate, venv};

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid() {
    let Some(venv) = venv() else { return };
    let site = Site::start(functions!()).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("openapi.json");
    site.save(&file).await;
    validate(&venv, &[file]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_calls_them() {
    let Some(venv) = venv() else { return };
    let site = Site::start(functions!()).await;
    use_client(&venv, &site, "quickstart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_at_the_server() {
    let Some(venv) = venv() else { return };
    let site = Site::start(functions!()).await;
    // `ticks` is endless.
    fuzz(&venv, &site, "2s", &["--max-examples", "10"]).await;
}
