//! Functions of every kind with types of every kind, as programs that know nothing of this project
//! read of them. Without these programs the tests say so and pass.

use openapi::{Site, of_every_kind, validate, venv};

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_valid() {
    let Some(venv) = venv() else { return };
    let site = Site::start(of_every_kind()).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("openapi.json");
    site.save(&file).await;
    validate(&venv, &[file]).await;
}
