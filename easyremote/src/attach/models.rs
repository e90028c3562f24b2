//! The models of the local server, which become tags of its node.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use futures::{FutureExt, StreamExt, stream};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::attach::exchange::Forwarder;
use crate::error::printable::is_printable;
use crate::function::forward::{AnswerPart, MODEL_TAG, RequestHead};
use crate::node::Node;
use crate::wire::limits::{MAX_LIST, MAX_NAME};

/// Time between two looks at the models.
const INTERVAL: Duration = Duration::from_secs(30);

/// Time between two looks while the server cannot be reached, so that a server that has started
/// again is soon used again.
const INTERVAL_WHILE_DOWN: Duration = Duration::from_secs(2);

/// Time for the list of models to arrive.
const LIMIT: Duration = Duration::from_secs(10);

/// Longest list of models, in bytes.
const MAX_LENGTH: usize = 4 << 20;

/// Where clients of OpenAI-compatible servers find the models.
const PATH: &str = "/v1/models";

/// The part of the list that counts.
#[derive(Deserialize)]
struct ModelList {
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
}

/// What a look at the server has shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Models(BTreeSet<String>),
    /// It answers, and not with a list of models.
    NoList,
    /// It does not answer.
    Down,
}

impl Forwarder {
    /// Asks the server for its models.
    pub(super) async fn look(&self) -> Look {
        let head = RequestHead {
            method: "GET".to_owned(),
            target: PATH.to_owned(),
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            length: Some(0),
        };
        let read = async {
            let mut parts = self.forward(head, stream::empty()).await.ok()?;
            let (mut status, mut body) = (0, BytesMut::new());
            while let Some(part) = parts.next().await {
                match part.ok()? {
                    AnswerPart::Head(head) => status = head.status,
                    AnswerPart::Body(chunk) if body.len() + chunk.len() <= MAX_LENGTH => {
                        body.extend_from_slice(&chunk);
                    }
                    AnswerPart::Body(_) => return Some(Look::NoList),
                }
            }
            let list = serde_json::from_slice::<ModelList>(&body).ok().filter(|_| status == 200);
            Some(list.map_or(Look::NoList, |list| {
                Look::Models(list.data.into_iter().map(|model| model.id).collect())
            }))
        };
        timeout(LIMIT, read).await.ok().flatten().unwrap_or(Look::Down)
    }
}

/// Keeps the tags of a node in step with the models of its server, until the node is dropped. `tags`
/// are the node's own.
pub(super) async fn follow(
    forwarder: Arc<Forwarder>,
    node: Weak<Node>,
    tags: Vec<String>,
    mut last: Look,
) {
    loop {
        let pause = if last == Look::Down { INTERVAL_WHILE_DOWN } else { INTERVAL };
        tokio::select! {
            () = sleep(pause) => {}
            // A call has found that it is down: others need not find that too.
            () = forwarder.unreachable.notified(), if last != Look::Down => {}
        }
        let look = forwarder.look().await;
        if look == last {
            continue;
        }
        let Some(node) = node.upgrade() else { return };
        tell(&node, &look);
        // The first poll sets the tags. Waiting longer would keep the node that its owner drops.
        if let Some(Err(error)) = node.set_tags(tags_with(&tags, &look)).now_or_never() {
            tracing::warn!(node = node.id(), %error, "the models of the server are no tags");
        }
        last = look;
    }
}

fn tell(node: &Node, look: &Look) {
    let node = node.id();
    match look {
        Look::Models(models) => tracing::info!(node, ?models, "the server has these models"),
        Look::NoList => tracing::info!(node, "the server has no list of models"),
        Look::Down => tracing::warn!(node, "the server behind the node does not answer"),
    }
}

/// Returns the tags of a node whose server has shown this. Models for which a node has no more tags,
/// or whose names cannot be tags, are left out.
pub(super) fn tags_with(own: &[String], look: &Look) -> Vec<String> {
    let Look::Models(models) = look else { return own.to_vec() };
    let is_fine = |tag: &String| tag.len() <= MAX_NAME && is_printable(tag);
    let named = models.iter().filter(|model| !model.is_empty());
    let found = named.map(|model| format!("{MODEL_TAG}{model}")).filter(is_fine);
    let tags: Vec<_> = own.iter().cloned().chain(found).take(MAX_LIST.max(own.len())).collect();
    let left_out = own.len() + models.len() - tags.len();
    if left_out > 0 {
        tracing::warn!(left_out, "models without a tag: a node has at most {MAX_LIST} tags");
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(names: impl IntoIterator<Item = String>) -> Look {
        Look::Models(names.into_iter().collect())
    }

    #[test]
    fn models_are_tags_beside_the_nodes_own() {
        let own = vec!["gpu".to_owned()];
        let look = models(["llama3.2:3b".to_owned(), "org/model".to_owned()]);
        assert_eq!(tags_with(&own, &look), ["gpu", "model:llama3.2:3b", "model:org/model"]);
        assert_eq!(tags_with(&own, &Look::Down), own);
        assert_eq!(tags_with(&own, &Look::NoList), own);
    }

    #[test]
    fn what_is_no_tag_is_left_out() {
        let odd = [String::new(), "a\nb".to_owned(), "x".repeat(200), "fine".to_owned()];
        assert_eq!(tags_with(&[], &models(odd)), ["model:fine"]);
        let many = tags_with(&["gpu".to_owned()], &models((0..100).map(|n| n.to_string())));
        assert_eq!(many.len(), MAX_LIST);
        assert_eq!(many[0], "gpu");
    }
}
