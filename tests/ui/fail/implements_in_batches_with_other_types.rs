mod api {
    use easyremote::remote;

    #[remote]
    pub fn length(text: String) -> u64;
}

use easyremote::remote;

#[remote(implements = api::length, batch)]
fn of_bytes(texts: Vec<Vec<u8>>) -> Vec<u64> {
    texts.iter().map(|text| text.len() as u64).collect()
}

#[remote(implements = api::length, batch)]
fn of_another_size(texts: Vec<String>) -> Vec<u32> {
    texts.iter().map(|text| text.len() as u32).collect()
}

#[remote(implements = api::length, batch)]
fn fallible(texts: Vec<String>) -> Vec<Result<u64, String>> {
    texts.iter().map(|text| Ok(text.len() as u64)).collect()
}

fn main() {}
