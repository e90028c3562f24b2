use easyremote::remote;

#[remote(err = "display")]
fn read() -> Result<u8, Box<dyn std::error::Error>> {
    Ok(0)
}

fn main() {}
