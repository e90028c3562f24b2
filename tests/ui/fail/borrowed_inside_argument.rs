use easyremote::remote;

#[remote]
fn join(words: Vec<&'static str>) -> String {
    words.join(" ")
}

fn main() {}
