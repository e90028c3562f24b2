//! The caller does not have it.
use easyremote::{Client, remote};

struct Llm;

#[remote]
async fn generate(#[state] llm: &Llm, prompt: String) -> String {
    let _ = llm;
    prompt
}

async fn callers(client: Client) {
    let _ = generate::call(&client, &Llm, "prompt".to_owned()).await;
}

fn main() {
    let _ = callers;
}
