use easyremote::remote;

struct Llm;

#[remote]
async fn generate(#[state] llm: &mut Llm, prompt: String) -> String {
    let _ = llm;
    prompt
}

fn main() {}
