use easyremote::remote;

struct Counter(std::cell::Cell<u64>);

#[remote]
impl Counter {
    fn count(&self, by: u64) -> u64 {
        self.0.set(self.0.get() + by);
        self.0.get()
    }
}

fn main() {}
