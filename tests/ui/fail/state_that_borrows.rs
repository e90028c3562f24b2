use easyremote::remote;

#[remote]
fn generate(#[state] words: &Vec<&str>, prompt: String) -> String {
    words.join(&prompt)
}

fn main() {}
