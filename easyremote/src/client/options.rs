//! Options that hold for all calls made with one handle.

use std::time::Duration;

use crate::client::prepared::{Prepared, Until};

/// Options for all calls and streams that are made with one handle of a client; see
/// [`Client::with`](crate::Client::with).
///
/// They are those of [`Call`](crate::Call). What is set on a call itself goes before them, and they
/// go before what `#[remote(..)]` says.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::{Client, Options};
///
/// fn on_gpus(client: &Client) -> Client {
///     client.with(Options::new().tag("gpu").timeout(Duration::from_secs(30)))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until they are given to `Client::with`"]
pub struct Options {
    timeout: Option<Duration>,
    on: Option<String>,
    tags: Vec<String>,
    metadata: Vec<(String, String)>,
    wait_for_node: bool,
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`Call::timeout`](crate::Call::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// See [`Call::on`](crate::Call::on).
    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.on = Some(node.into());
        self
    }

    /// See [`Call::tag`](crate::Call::tag).
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// See [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// See [`Call::wait_for_node`](crate::Call::wait_for_node).
    pub fn wait_for_node(mut self) -> Self {
        self.wait_for_node = true;
        self
    }

    /// These, and `more` over them: lists are put together, of the rest what `more` sets counts.
    pub(super) fn and(mut self, more: Self) -> Self {
        self.timeout = more.timeout.or(self.timeout);
        self.on = more.on.or(self.on);
        self.tags.extend(more.tags);
        self.metadata.extend(more.metadata);
        self.wait_for_node |= more.wait_for_node;
        self
    }

    pub(super) fn apply(&self, prepared: &mut Prepared) {
        if let Some(timeout) = self.timeout {
            prepared.until = Until::After(timeout);
        }
        prepared.header.on.clone_from(&self.on);
        prepared.header.tags.clone_from(&self.tags);
        prepared.header.metadata.clone_from(&self.metadata);
        prepared.header.wait = self.wait_for_node;
    }
}
