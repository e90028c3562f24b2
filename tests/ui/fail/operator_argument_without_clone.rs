use easyremote::remote;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Limits(Vec<f64>);

#[remote(operator)]
fn within(celsius: &f64, limits: Limits) -> bool {
    limits.0.iter().all(|limit| celsius < limit)
}

fn main() {}
