use easyremote::remote;

struct Llm;

#[remote]
fn generate(#[ctx] llm: &Llm, prompt: String) -> String {
    let _ = llm;
    prompt
}

fn main() {}
