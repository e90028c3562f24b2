//! A node: implements the functions that the API crate declares, with a dependency that only the
//! node has.
//!
//! `EASYREMOTE_GATEWAY` is the address of the gateway. The node runs until its standard input ends.

use api::Summary;
use easyremote::{Node, from_env, functions, remote};
use futures::{Stream, stream};
use unicode_segmentation::UnicodeSegmentation;

/// Sync here, although it is declared as async: callers see no difference.
#[remote(implements = api::summarize)]
fn summarize(text: String) -> Summary {
    let longest = text.unicode_words().rev().max_by_key(|word| word.graphemes(true).count());
    let longest = longest.unwrap_or_default().to_owned();
    Summary { words: text.unicode_words().count(), longest }
}

#[remote(stream, implements = api::sentences)]
fn sentences(text: String) -> impl Stream<Item = String> {
    let sentences = text.unicode_sentences().map(|sentence| sentence.trim().to_owned());
    stream::iter(sentences.collect::<Vec<_>>())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // All functions of this crate that have a body.
    let node = Node::serve(from_env()?, functions!()).await?;
    println!("{} offers its functions", node.id());
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    node.shutdown().await;
    Ok(())
}
