use easyremote::remote;

#[remote(needs = "")]
async fn one() {}

#[remote(needs = "gpu, eu, gpu")]
async fn two() {}

#[remote(needs = gpu)]
async fn three() {}

fn main() {}
