use easyremote::remote;

#[remote(err = "debug")]
async fn read() -> std::io::Result<String> {
    Ok(String::new())
}

fn main() {}
