use easyremote::remote;

mod api {
    #[easyremote::remote(skew = "by-name")]
    pub async fn declared(n: u8) -> u8;
}

#[remote(skew = "by_name")]
fn spelled(n: u8) -> u8 {
    n
}

#[remote(skew)]
fn without_value(n: u8) -> u8 {
    n
}

#[remote(operator, skew = "lossy")]
fn applied(n: u8) -> u8 {
    n
}

#[remote(implements = api::declared, skew = "by-name")]
fn implemented(n: u8) -> u8 {
    n
}

fn main() {}
