use easyremote::remote;
use futures::Stream;

#[remote]
async fn mix(left: impl Stream<Item = f32>, gain: f32, right: impl Stream<Item = f32>) -> f32 {
    drop((left, right));
    gain
}

fn main() {}
