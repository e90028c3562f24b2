use easyremote::remote;

#[remote(stream)]
fn words(text: String) -> impl Iterator<Item = &'static str> {
    let _ = text;
    ["plain", "functions"].into_iter()
}

fn main() {}
