use easyremote::{Context, remote};

struct Llm;

#[remote]
fn generate(llm: &Llm, ctx: &Context, prompt: String) -> String {
    let _ = (llm, ctx);
    prompt
}

fn main() {}
