use easyremote::{Context, remote};

#[remote]
fn generate(#[state] #[ctx] ctx: &Context, prompt: String) -> String {
    let _ = ctx;
    prompt
}

fn main() {}
