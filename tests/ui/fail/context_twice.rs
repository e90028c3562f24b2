use easyremote::{Context, remote};

#[remote]
fn generate(#[ctx] one: &Context, prompt: String, #[ctx] two: &Context) -> String {
    let _ = (one, two);
    prompt
}

fn main() {}
