//! The API that clients and nodes share: types, and declarations of functions.
//!
//! A client that depends on this crate builds none of the node's dependencies.

use easyremote::remote;
use futures::Stream;
use serde::{Deserialize, Serialize};

/// A summary of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of words.
    pub words: usize,
    /// The first of the longest words.
    pub longest: String,
}

/// Counts the words of a text.
#[remote(idempotent, timeout = "10s")]
pub async fn summarize(text: String) -> Summary;

/// Cuts a text into sentences.
#[remote(stream)]
pub fn sentences(text: String) -> impl Stream<Item = String>;
