//! What clients and nodes share: types, and functions that are declared and not implemented.
//!
//! A client that depends on this crate builds nothing of what the node needs to run them.

use easyremote::remote;
use futures::Stream;
use serde::{Deserialize, Serialize};

/// What is known of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The number of its words.
    pub words: usize,
    /// The first of its longest words.
    pub longest: String,
}

/// Counts the words of a text.
#[remote(idempotent, timeout = "10s")]
pub async fn summarize(text: String) -> Summary;

/// Cuts a text into sentences.
#[remote(stream)]
pub fn sentences(text: String) -> impl Stream<Item = String>;
