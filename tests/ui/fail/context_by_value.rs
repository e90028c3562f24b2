use easyremote::{Context, remote};

#[remote]
fn generate(#[ctx] ctx: Context, prompt: String) -> String {
    let _ = ctx;
    prompt
}

fn main() {}
