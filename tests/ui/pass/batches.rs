//! Batch functions of every shape: what their callers see has elements in place of lists.

#![deny(warnings)]

use std::io;

use easyremote::{Call, Client, Context, functions, remote};

#[remote(batch(max = 32, wait = "5ms"))]
pub fn embed(texts: Vec<String>) -> Vec<Vec<f32>> {
    texts.iter().map(|text| vec![text.len() as f32]).collect()
}

#[remote(batch)]
async fn each_may_fail(numbers: Vec<u64>, bases: std::vec::Vec<u64>) -> Vec<Result<u64, String>> {
    numbers.iter().zip(bases).map(|(n, base)| n.checked_rem(base).ok_or("zero".into())).collect()
}

#[remote(batch(max = 4096, weigh = weigh), err = "display")]
fn all_may_fail(#[state] _state: &String, texts: Vec<String>, extra: Vec<u8>) -> io::Result<Vec<()>> {
    Ok(texts.iter().zip(extra).map(drop).collect())
}

fn weigh(text: &str, extra: &u8) -> usize {
    text.len() + usize::from(*extra)
}

#[derive(serde::Serialize, serde::Deserialize)]
pub struct SearchResult(pub u32);

#[remote(batch(max = 2), plain, concurrency = 1, stub = Search, needs = "gpu")]
pub fn search(queries: Vec<u32>) -> Vec<SearchResult> {
    queries.into_iter().map(SearchResult).collect()
}

mod api {
    #[easyremote::remote(idempotent, timeout = "1s")]
    pub async fn count(text: String) -> Option<usize>;
}

#[remote(implements = api::count, batch)]
fn count(mut texts: Vec<String>) -> Vec<Option<usize>> {
    texts.drain(..).map(|text| Some(text.len())).collect()
}

pub struct Model;

#[remote]
impl Model {
    #[remote(batch(max = 8), concurrency = 1)]
    pub async fn embed(&self, #[ctx] callers: &[Context], texts: Vec<String>) -> Vec<Vec<f32>> {
        texts.iter().zip(callers).map(|(text, _)| vec![text.len() as f32]).collect()
    }
}

#[remote]
pub trait Embedder {
    #[remote(batch)]
    fn embed(&self, texts: Vec<String>) -> Vec<Vec<f32>>;

    #[remote(batch)]
    async fn lengths(&self, texts: Vec<String>) -> Vec<usize> {
        texts.iter().map(String::len).collect()
    }
}

impl Embedder for Model {
    fn embed(&self, texts: Vec<String>) -> Vec<Vec<f32>> {
        embed(texts)
    }
}

fn typed(client: &Client) {
    let _: Call<embed> = embed::call(client, "text".to_owned());
    let _: Call<each_may_fail> = each_may_fail::call(client, 1, 2);
    let _: Call<Search> = Search::call(client, 7);
    let _: Call<api::count> = api::count::call(client, String::new());
    let _: Call<Model_embed> = Model::remote(client).embed("text".to_owned());
    let _: Call<Embedder_lengths> = EmbedderClient::new(client).lengths("text".to_owned());
    drop(embed::map(client, ["a".to_owned(), "b".to_owned()]));
    drop(all_may_fail::map(client, [("a".to_owned(), 1)]));
}

fn main() {
    let _ = typed;
    let offered =
        functions![embed, each_may_fail, all_may_fail, Search, count, Model, EmbedderServer<Model>];
    assert_eq!(offered.names().count(), 8);
}
