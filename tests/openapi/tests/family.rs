//! Functions of every kind with types of every kind, as programs that know nothing of this project
//! read of them and call them. Without these programs the tests say so and pass.

use openapi::{Site, fuzz, of_every_kind, use_client, validate, venv};

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_valid() {
    let Some(venv) = venv() else { return };
    let site = Site::start(of_every_kind()).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("openapi.json");
    site.save(&file).await;
    validate(&venv, &[file]).await;
    // Another test may have written some.
    let Some(more) = std::env::var_os("OPENAPI_DOCUMENTS") else { return };
    let more: Vec<_> = std::fs::read_dir(more).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!more.is_empty());
    validate(&venv, &more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_calls_them() {
    let Some(venv) = venv() else { return };
    let site = Site::start(of_every_kind()).await;
    use_client(&venv, &site, "family").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_at_the_server() {
    let Some(venv) = venv() else { return };
    let site = Site::start(of_every_kind()).await;
    // It cannot write lines of JSON, and a panic is a fault of the function.
    let odd = "panics|total|doubled";
    fuzz(&venv, &site, "20s", &["--max-examples", "10", "--exclude-path-regex", odd]).await;
}
