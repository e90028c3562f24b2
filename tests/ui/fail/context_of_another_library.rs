use easyremote::remote;

struct Context;

#[remote]
fn generate(#[ctx] ctx: &Context, prompt: String) -> String {
    let _ = ctx;
    prompt
}

fn main() {}
