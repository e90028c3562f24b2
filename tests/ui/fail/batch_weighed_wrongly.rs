use easyremote::remote;

#[remote(batch(max = 100, weigh = by_length))]
fn lengths(texts: Vec<String>) -> Vec<usize> {
    texts.iter().map(String::len).collect()
}

fn by_length(text: &String) -> f64 {
    text.len() as f64
}

#[remote(batch(max = 100, weigh = str::len))]
fn bytes(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

fn main() {}
