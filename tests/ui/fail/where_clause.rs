use easyremote::remote;

#[remote]
fn sum(values: Vec<u8>) -> u8
where
    u8: Copy,
{
    values.iter().sum()
}

fn main() {}
