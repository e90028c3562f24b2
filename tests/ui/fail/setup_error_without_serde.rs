use easyremote::remote;

struct NotFound;

#[remote(stream)]
fn rows(n: u64) -> Result<impl Iterator<Item = u64>, NotFound> {
    Ok(0..n)
}

fn main() {}
