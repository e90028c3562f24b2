use easyremote::remote;

#[remote]
fn scale(value: f32, #[cfg(unix)] factor: f32) -> f32 {
    value * factor
}

fn main() {}
