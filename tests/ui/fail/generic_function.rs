use easyremote::remote;

#[remote]
fn sum<T: std::iter::Sum>(values: Vec<T>) -> T {
    values.into_iter().sum()
}

fn main() {}
