//! Why a call cannot run, in words that say what there is instead.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::gateway::needs::unable;
use crate::gateway::table::{Route, Table, matches};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_WAITING;

impl Table {
    /// Why there is no node that takes the call, now or later.
    pub(super) fn explain(&self, header: &CallHeader) -> Error {
        let name = &header.function;
        let function = self.index.function(name);
        let routes: Vec<&Route> = function.map_or_else(Vec::new, |it| it.routes.values().collect());
        let Some(&any) = routes.first() else {
            let kind = match self.known.contains_key(name) {
                true => ErrorKind::NoNode,
                false => ErrorKind::NoSuchFunction,
            };
            let text = format!("no node offers `{name}`; {}", self.summary(header));
            return Error::new(kind, text);
        };
        let Some(route) = routes.iter().find(|route| matches(route.offer(), header)) else {
            return mismatch(header, any);
        };
        if let Some(first) = routes.iter().find(|route| route.fits(header)) {
            let id = first.node.id();
            let (kind, what) = match first.node.is_draining() {
                true => (ErrorKind::Draining, "is shutting down"),
                false => (ErrorKind::NodeLost, "has just been lost"),
            };
            let text = format!("node `{id}` {what}, and no other offers `{name}`");
            return Error::new(kind, text).with_node(id);
        }
        if let Some(error) = unable(header, &routes) {
            return error;
        }
        let ids = routes.iter().map(|route| route.node.id());
        let text = format!(
            "`{name}` is offered by {}, but not by a node that the call asks for: {}",
            list(ids),
            wish(header)
        );
        Error::new(ErrorKind::NoNode, text).with_node(route.node.id())
    }

    /// What there is for who makes this call.
    fn summary(&self, header: &CallHeader) -> String {
        let n = self.nodes.len();
        if n == 0 {
            return "no node is connected".to_owned();
        }
        let nodes = if n == 1 { "1 node is".to_owned() } else { format!("{n} nodes are") };
        let may_call = |name: &&str| {
            header.caller.as_ref().is_some_and(|caller| self.access.may_call(caller, name))
        };
        let names: Vec<&str> = self.names.iter().map(String::as_str).filter(may_call).collect();
        format!("{nodes} connected, offering {}", list(names.into_iter()))
    }
}

/// The error of a call for which there is no room, not even to wait.
pub(super) fn no_room(function: &str) -> Error {
    let text = format!(
        "every node that offers `{function}` is busy with all it takes, and {MAX_WAITING} calls of \
         it wait already"
    );
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}

fn mismatch(header: &CallHeader, route: &Route) -> Error {
    let (name, offer) = (&header.function, route.offer());
    if offer.kind != header.kind {
        let hint = match offer.kind {
            Kind::Unary => "gives one result: call it with `call`, or `call_json`",
            Kind::Stream => "gives a stream: read it as one, or with `stream_json`",
            Kind::Upload | Kind::Duplex => "takes a stream, which only its stub can send",
        };
        let kind = match header.fingerprint {
            0 => ErrorKind::BadArguments,
            _ => ErrorKind::SignatureMismatch,
        };
        return Error::new(kind, format!("`{name}` {hint}"));
    }
    let text = format!(
        "the types of `{name}` differ: node `{}` has `{}`",
        route.node.id(),
        offer.signature
    );
    Error::new(ErrorKind::SignatureMismatch, text).with_node(route.node.id())
}

fn wish(header: &CallHeader) -> String {
    let on = header.wish.on.iter().map(|id| format!("node `{id}`"));
    let tags = header.wish.tags.iter().map(|tag| format!("tag `{tag}`"));
    on.chain(tags).collect::<Vec<_>>().join(", ")
}

/// Most names in one text.
pub(super) const SHOWN: usize = 8;

/// The first few of some names, quoted, and how many more there are.
pub(super) fn list<'a>(mut names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let first = names.by_ref().take(SHOWN);
    let mut text: Vec<String> = first.map(|name| format!("`{name}`")).collect();
    if names.len() > 0 {
        text.push(format!("and {} more", names.len()));
    }
    text.join(", ")
}
