use easyremote::remote;

struct Silent;

#[remote(err = "display")]
async fn one() -> Result<u8, Silent> {
    Err(Silent)
}

#[remote(stream, err = "display")]
fn items() -> impl Iterator<Item = Result<u8, Silent>> {
    std::iter::empty()
}

fn main() {}
