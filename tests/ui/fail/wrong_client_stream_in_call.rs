use easyremote::{Client, remote};
use futures::{Stream, stream};

#[remote]
async fn upload(name: String, chunks: impl Stream<Item = Vec<u8>>) -> usize {
    drop(chunks);
    name.len()
}

async fn callers(client: Client) {
    let _ = upload::call(&client, "name".to_owned(), stream::iter(["text"])).await;
}

fn main() {
    let _ = callers;
}
