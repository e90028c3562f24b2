use easyremote::remote;

#[remote]
fn generate(#[ctx] ctx: &mut easyremote::Context, prompt: String) -> String {
    let _ = ctx;
    prompt
}

fn main() {}
