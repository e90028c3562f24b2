use easyremote::remote;

mod api {
    use easyremote::remote;

    #[remote(operator)]
    pub fn hot(celsius: f64, limit: f64) -> Option<f64>;

    #[remote]
    pub fn function(celsius: f64) -> f64;
}

#[remote(operator, implements = api::hot)]
fn hot(celsius: f64, limit: f64) -> Option<u64> {
    (celsius > limit).then_some(celsius as u64)
}

#[remote(operator, implements = api::function)]
fn function(celsius: f64) -> f64 {
    celsius
}

fn main() {}
