//! Error messages for calls that cannot run: why, and what the caller could use instead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::call::operator_mismatch::operator_mismatch;
use crate::error::{Error, ErrorKind};
use crate::gateway::policy::access::Access;
use crate::gateway::routing::node::{Obstacle, RoutedNode};
use crate::gateway::routing::table::{Route, RoutingTable};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_JOB_REQUESTS, MAX_WAITING};
use crate::wire::operators::{AppliedFunction, applied_in};

/// The state from which the failure of a call is explained.
pub(crate) struct Diagnosis<'a, H> {
    pub(crate) table: &'a RoutingTable<H>,
    pub(crate) access: &'a Access,
    /// The functions that are offered now, sorted; `None` if they are not to be named.
    pub(crate) names: Option<&'a BTreeSet<String>>,
    /// Whether a function was ever offered: distinguishes "not now" from "unknown".
    pub(crate) is_known: &'a dyn Fn(&str) -> bool,
}

impl<'a, H> Diagnosis<'a, H> {
    /// Returns the error that explains why no node can run the call, now or later.
    pub(crate) fn explain(&self, header: &CallHeader) -> Error {
        let name = &header.function;
        let function = self.table.function(name);
        let routes = function.map_or(&[][..], |function| &function.routes);
        if routes.is_empty() {
            let text = format!("no node offers `{name}`{}", self.summary(header));
            return Error::new(self.kind_of_missing(name), text);
        }
        let asked_for: Vec<&Route<H>> = routes.iter().filter(|it| it.node.fits(header)).collect();
        let Some(first) = asked_for.first() else {
            return self.not_asked_for(header, routes);
        };
        let matching: Vec<&Route<H>> =
            asked_for.iter().copied().filter(|route| route.matches(header)).collect();
        if matching.is_empty() {
            let other = routes.iter().find(|route| route.matches(header));
            return mismatch(header, first, other);
        }
        let able: Vec<_> = matching.iter().copied().filter(|route| route.can_run()).collect();
        if !able.is_empty() && !able.iter().any(|route| route.applies(header)) {
            return self.not_applied(header, &able);
        }
        if let Some(first) = able.iter().find(|route| route.applies(header)) {
            let id = first.node.id();
            let (kind, what) = match () {
                () if first.node.is_draining() => (ErrorKind::Draining, "is shutting down"),
                () if first.node.is_leaving() => (ErrorKind::NodeLost, "has just been lost"),
                () => (ErrorKind::NodeLost, "has fallen silent"),
            };
            let text = format!("node `{id}` {what}, and no other offers `{name}`");
            return Error::new(kind, text);
        }
        lacking_tags(header, &matching)
    }

    /// Returns the kind of the error for a function that no node offers.
    fn kind_of_missing(&self, name: &str) -> ErrorKind {
        if (self.is_known)(name) { ErrorKind::NoNode } else { ErrorKind::NoSuchFunction }
    }

    /// Returns the error for a call whose operators apply functions that none of `routes` has all of,
    /// the nodes that can run the function itself.
    fn not_applied(&self, header: &CallHeader, routes: &[&Route<H>]) -> Error {
        let missing = |applied: &&Arc<AppliedFunction>| {
            !routes.iter().any(|route| route.node.applies(applied))
        };
        let function = &header.function;
        let Some(applied) = applied_in(&header.operators).find(missing) else {
            let all = applied_in(&header.operators).map(|it| it.name.as_str());
            let all: Vec<_> = all.collect::<BTreeSet<_>>().into_iter().collect();
            let text = format!(
                "no node that offers `{function}` offers all operators of the call: {}",
                list(all.into_iter())
            );
            return Error::new(ErrorKind::NoNode, text);
        };
        let name = &applied.name;
        let offered = |node: &RoutedNode<H>| {
            node.offer_index(name).map(|index| node.offers()[index].offer.clone())
        };
        if let Some((id, offer)) =
            routes.iter().find_map(|route| Some((route.node.id(), offered(&route.node)?)))
        {
            return match offer.kind {
                Kind::Operator => operator_mismatch(name, id, &offer.signature),
                _ => Error::new(
                    ErrorKind::NoSuchFunction,
                    format!(
                        "`{name}` at node `{id}` is not an operator: it is called, and not passed \
                         to `through`"
                    ),
                ),
            };
        }
        let elsewhere = self.table.function(name).map_or(&[][..], |function| &function.routes);
        if elsewhere.is_empty() {
            let text = format!("no node offers the operator `{name}`{}", self.summary(header));
            return Error::new(self.kind_of_missing(name), text);
        }
        let text = format!(
            "no node offers both `{function}` and the operator `{name}`: {} have the one, {} the \
             other",
            list(routes.iter().map(|route| route.node.id())),
            list(elsewhere.iter().map(|route| route.node.id()))
        );
        Error::new(ErrorKind::NoNode, text)
    }

    /// Returns the error for a call whose routing options exclude all nodes that offer the
    /// function.
    fn not_asked_for(&self, header: &CallHeader, routes: &[Route<H>]) -> Error {
        let name = &header.function;
        let ids = list(routes.iter().map(|route| route.node.id()));
        let why = match &header.routing.on {
            None => format!("{}: none of them has all the tags", requirements(header)),
            Some(id) => match self.table.node(id) {
                None => format!("another: node `{id}` is not connected"),
                Some(node) if node.offer_index(name).is_some() => {
                    let asks = requirements(header);
                    format!("{asks}: node `{id}` offers it, and lacks a tag that the call asks for")
                }
                Some(_) => format!("another: node `{id}` does not offer it"),
            },
        };
        let text = format!("`{name}` is offered by {ids}, and the call asks for {why}");
        Error::new(ErrorKind::NoNode, text)
    }

    /// Summarizes what the caller could call, to be appended to the text of an error.
    fn summary(&self, header: &CallHeader) -> String {
        let Some(names) = self.names else { return String::new() };
        let n = self.table.n_nodes();
        if n == 0 {
            return "; no node is connected".to_owned();
        }
        let nodes = if n == 1 { "1 node is".to_owned() } else { format!("{n} nodes are") };
        let (names, more) = self.callable(names, header);
        let names = names.into_iter().map(|name| format!("`{name}`"));
        let names = names.chain(more).collect::<Vec<_>>().join(", ");
        format!("; {nodes} connected, offering {names}")
    }

    /// Returns the first few names that the caller may call, and how many more exist. Only a
    /// bounded number of names is checked, so that the cost does not depend on what others offer.
    fn callable(
        &self,
        all: &'a BTreeSet<String>,
        header: &CallHeader,
    ) -> (Vec<&'a str>, Option<String>) {
        let Some(caller) = header.caller.as_deref() else { return (Vec::new(), None) };
        let scope = self.access.scope(caller);
        if scope.is_all() {
            let names = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
            let more = all.len() - names.len();
            return (names, (more > 0).then(|| format!("and {more} more")));
        }
        let looked_at = all.iter().take(LOOKED_AT).map(String::as_str);
        let mut names: Vec<&str> =
            looked_at.filter(|name| self.access.is_within(&scope, name)).collect();
        let more = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        let more = match more {
            _ if all.len() > LOOKED_AT => Some("and perhaps more".to_owned()),
            0 => None,
            more => Some(format!("and {more} more")),
        };
        (names, more)
    }
}

/// Returns the error for a call whose queue is full.
pub(crate) fn no_room(function: &str) -> Error {
    let text = format!(
        "every node that offers `{function}` is at its capacity, and {MAX_WAITING} calls of it are \
         waiting already"
    );
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}

/// Returns the error for a call that continues a stream of a node that is not here.
pub(crate) fn stream_elsewhere(header: &CallHeader) -> Error {
    let id = header.routing.on.as_deref().unwrap_or_default();
    let text = format!(
        "node `{id}`, which has the stream of `{}`, is not connected to this gateway",
        header.function
    );
    Error::new(ErrorKind::NoNode, text)
}

/// Returns what a call waits for: room at one of `nodes`, all that can run it, which are `n`.
pub(crate) fn waits_for_room<'a>(
    header: &CallHeader,
    nodes: impl Iterator<Item = (&'a str, Option<Obstacle>)>,
    n: usize,
) -> String {
    let function = &header.function;
    let of_node = |(id, obstacle): (&str, Option<Obstacle>)| match obstacle {
        Some(Obstacle::NodeFull { runs, of }) => format!("`{id}` runs {runs} of {of}"),
        Some(Obstacle::FunctionFull { runs, of }) => {
            format!("`{id}` runs {runs} of {of} of `{function}`")
        }
        Some(Obstacle::Leaving) => format!("`{id}` shuts down"),
        Some(Obstacle::Silent) => format!("`{id}` has fallen silent"),
        Some(Obstacle::Avoided) => format!("`{id}` is avoided, because its calls keep failing"),
        None => format!("`{id}` has room now"),
    };
    let mut all: Vec<_> = nodes.take(SHOWN).map(of_node).collect();
    if n > all.len() {
        all.push(format!("and {} more", n - all.len()));
    }
    let who = match (&header.routing.on, &header.key) {
        (Some(_), _) => "the node that the call asks for has no room".to_owned(),
        (None, Some(_)) => "the node that has the runs of the key has no room".to_owned(),
        (None, None) if header.routing.tags.is_empty() => {
            format!("no node that offers `{function}` has room")
        }
        (None, None) => {
            let noun = if header.routing.tags.len() == 1 { "the tag" } else { "the tags" };
            let tags = list(header.routing.tags.iter().map(String::as_str));
            format!("no node with {noun} {tags} that offers `{function}` has room")
        }
    };
    format!("{who}: {}", all.join(", "))
}

/// Returns the error for a request about jobs at a node that has as many of them as it may.
pub(crate) fn too_many_requests(node: &str) -> Error {
    let text = format!("{MAX_JOB_REQUESTS} requests about jobs of node `{node}` are in flight");
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}

/// Returns the error for a call whose kind or types differ from those of `route`. `other` is a node
/// with the right ones that the call's routing options exclude.
fn mismatch<H>(header: &CallHeader, route: &Route<H>, other: Option<&Route<H>>) -> Error {
    let (name, offer) = (&header.function, route.offer());
    let id = route.node.id();
    if offer.kind != header.kind {
        let hint = match offer.kind {
            Kind::Unary => "returns one result: call it with `call`, or `call_json`",
            Kind::Stream => "returns a stream: read it as one, or with `stream_json`",
            Kind::Upload => "takes a stream: pass it with `call`, or with `items` of `call_json`",
            Kind::Duplex => {
                "takes and returns a stream: pass one with `call`, or with `items` of `stream_json`"
            }
            Kind::Operator => "is an operator, and is not called: pass it to `through` of a stream",
        };
        let kind = match (offer.kind, header.fingerprint) {
            (Kind::Operator, _) => ErrorKind::NoSuchFunction,
            (_, 0) => ErrorKind::BadArguments,
            _ => ErrorKind::SignatureMismatch,
        };
        let at = match other {
            Some(_) => format!(" at node `{id}`, which the call asks for,"),
            None => String::new(),
        };
        return Error::new(kind, format!("`{name}`{at} {hint}"));
    }
    let at = match other {
        Some(other) => format!(
            " at node `{id}`, which the call asks for, and node `{}` has those of the caller",
            other.node.id()
        ),
        None => String::new(),
    };
    let text = format!("the types of `{name}` differ{at}: node `{id}` has `{}`", offer.signature);
    Error::new(ErrorKind::SignatureMismatch, text)
}

/// Returns the error for a call whose candidate nodes all lack tags that the function requires.
fn lacking_tags<H>(header: &CallHeader, routes: &[&Route<H>]) -> Error {
    let lack = |route: &&Route<H>| {
        let (tags, needs) = (route.node.tags(), route.offer().needs.iter());
        let lacking: Vec<_> = needs.filter(|tag| !tags.contains(tag)).map(String::as_str).collect();
        let noun = if lacking.len() == 1 { "the tag" } else { "the tags" };
        format!("node `{}` lacks {noun} {}", route.node.id(), list(lacking.into_iter()))
    };
    let text = format!(
        "no node that offers `{}` has the tags that it needs: {}; give a node a tag with \
         `Node::builder(..).tag(\"..\")` or `Node::set_tags`",
        header.function,
        routes.iter().take(SHOWN).map(lack).collect::<Vec<_>>().join(", ")
    );
    Error::new(ErrorKind::NoNode, text)
}

fn requirements(header: &CallHeader) -> String {
    let on = header.routing.on.iter().map(|id| format!("node `{id}`"));
    let tags = header.routing.tags.iter().map(|tag| format!("tag `{tag}`"));
    on.chain(tags).collect::<Vec<_>>().join(", ")
}

/// Maximum number of names that are checked for those that a caller may call.
const LOOKED_AT: usize = 256;

/// Maximum number of names in one message.
const SHOWN: usize = 8;

/// Quotes the first few names, and appends how many more exist.
fn list<'a>(mut names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let first = names.by_ref().take(SHOWN);
    let mut text: Vec<String> = first.map(|name| format!("`{name}`")).collect();
    if names.len() > 0 {
        text.push(format!("and {} more", names.len()));
    }
    text.join(", ")
}
