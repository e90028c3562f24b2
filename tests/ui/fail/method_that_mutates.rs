use easyremote::remote;

struct Counter(u64);

#[remote]
impl Counter {
    fn count(&mut self, by: u64) -> u64 {
        self.0 += by;
        self.0
    }
}

fn main() {}
