use std::borrow::Cow;

use easyremote::remote;

#[remote]
fn trim(text: Cow<'_, str>) -> String {
    text.trim().to_owned()
}

fn main() {}
