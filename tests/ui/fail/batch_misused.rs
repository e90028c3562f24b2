use easyremote::{Context, remote};

#[remote(batch(max = 32, wait = "5ms"))]
fn takes_one(text: String) -> Vec<usize> {
    vec![text.len()]
}

#[remote(batch(max = 32, wait = "5ms"))]
fn returns_one(texts: Vec<String>) -> usize {
    texts.len()
}

#[remote(batch(max = 32, wait = "5ms"))]
fn one_context(#[ctx] ctx: &Context, texts: Vec<String>) -> Vec<usize> {
    vec![ctx.node().len(); texts.len()]
}

#[remote(batch = 32)]
fn wrong_limit(texts: Vec<String>) -> Vec<usize> {
    vec![0; texts.len()]
}

#[remote(batch(wait = 5))]
fn wrong_wait(texts: Vec<String>) -> Vec<usize> {
    vec![0; texts.len()]
}

#[remote(batch, detached)]
fn lasting(texts: Vec<String>) -> Vec<usize> {
    vec![0; texts.len()]
}

#[remote(batch)]
fn only_declared(texts: Vec<String>) -> Vec<usize>;

fn main() {}
