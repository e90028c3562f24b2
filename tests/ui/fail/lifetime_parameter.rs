use easyremote::remote;

#[remote]
fn length<'a>(text: String) -> usize {
    text.len()
}

fn main() {}
