use easyremote::remote;

#[remote]
trait Counter {
    fn count(&self, by: u64) -> u64;
}

struct Model(std::cell::Cell<u64>);

impl Counter for Model {
    fn count(&self, by: u64) -> u64 {
        self.0.set(self.0.get() + by);
        self.0.get()
    }
}

fn main() {}
