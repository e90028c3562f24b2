use easyremote::remote;

struct Model;

#[remote(inline)]
impl Model {
    #[remote(tiemout = "30s")]
    fn embed(&mut self, text: &str) -> impl Iterator<Item = u8> {
        text.bytes()
    }

    #[remote(stream)]
    async fn tokens(&'static self, (a, b): (u8, u8)) -> Vec<u8> {
        vec![a, b]
    }

    fn new(&self) {}
}

fn main() {}
