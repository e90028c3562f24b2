use easyremote::remote;

trait Llm: Send + Sync {}

#[remote]
fn generate(#[state] llm: &dyn Llm, #[state] prefix: &str, prompt: String) -> String {
    let _ = llm;
    format!("{prefix}{prompt}")
}

fn main() {}
