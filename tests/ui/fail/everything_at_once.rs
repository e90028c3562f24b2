//! All mistakes are reported in one go.
use easyremote::remote;

#[remote(tiemout = "1s", inline)]
pub async fn greet<T>(name: &str, (a, b): (u8, u8)) -> &'static str {
    assert!(name.len() > usize::from(a + b));
    "hello"
}

fn main() {
    let _ = greet::<u8>("name", (1, 2));
}
