use easyremote::remote;

struct Llm;

#[remote]
fn generate(#[state] #[state] llm: &Llm, prompt: String) -> String {
    let _ = llm;
    prompt
}

fn main() {}
