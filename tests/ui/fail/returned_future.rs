use easyremote::remote;

#[remote]
fn later(n: u64) -> impl Future<Output = u64> {
    async move { n }
}

fn main() {}
