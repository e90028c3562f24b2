//! The tags that a function needs: which nodes can run it, and what to say if none can.

use crate::error::{Error, ErrorKind};
use crate::gateway::explain::{SHOWN, list};
use crate::gateway::node_session::NodeSession;
use crate::gateway::table::{Route, matches};
use crate::wire::control::Offer;
use crate::wire::header::CallHeader;

impl NodeSession {
    /// Whether the node has all the tags that the function needs.
    pub(super) fn can_run(&self, offer: &Offer) -> bool {
        self.has(&offer.needs)
    }

    fn lacking<'a>(&self, offer: &'a Offer) -> Vec<&'a str> {
        let tags = self.tags();
        offer.needs.iter().filter(|tag| !tags.contains(tag)).map(String::as_str).collect()
    }
}

/// The error of a call for which there would be nodes, if only they had the tags that the function
/// needs; `None` if that is not what is missing.
pub(super) fn unable(header: &CallHeader, routes: &[&Route]) -> Option<Error> {
    let asked_for = |route: &&Route| matches(route.offer(), header) && route.node.fits(header);
    let nodes: Vec<&Route> = routes.iter().copied().filter(asked_for).collect();
    let first = nodes.first()?;
    let lack = |route: &&Route| {
        let tags = route.node.lacking(route.offer());
        let noun = if tags.len() == 1 { "the tag" } else { "the tags" };
        format!("node `{}` lacks {noun} {}", route.node.id(), list(tags.into_iter()))
    };
    let text = format!(
        "no node that offers `{}` has the tags that it needs: {}; give a node a tag with \
         `Node::builder(..).tag(\"..\")` or `Node::set_tags`",
        header.function,
        nodes.iter().take(SHOWN).map(lack).collect::<Vec<_>>().join(", ")
    );
    Some(Error::new(ErrorKind::NoNode, text).with_node(first.node.id()))
}
