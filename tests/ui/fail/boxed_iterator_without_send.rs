use easyremote::remote;

#[remote(stream)]
async fn rows(n: u64) -> Box<dyn Iterator<Item = u64>> {
    Box::new(0..n)
}

fn main() {}
