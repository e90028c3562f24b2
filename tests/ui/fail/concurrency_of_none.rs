use easyremote::remote;

#[remote(concurrency = 0)]
async fn one() {}

#[remote(concurrency = "8")]
async fn two() {}

#[remote(concurrency = LIMIT)]
async fn three() {}

fn main() {}
