use easyremote::remote;

#[remote]
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.sum()
}

fn main() {}
