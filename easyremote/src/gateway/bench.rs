//! What the bench of routing sees of a gateway.

use crate::gateway::sample::{Peer, call, offer};
use crate::gateway::table::{Outlook, Route, Table};
use crate::wire::control::Register;

/// A gateway's nodes without a gateway, for the bench of routing.
#[derive(Debug)]
pub struct Pool {
    table: Table,
    keys: u64,
    nodes: usize,
    busy: Vec<Route>,
    /// Of the connection that the nodes share.
    _runtime: tokio::runtime::Runtime,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any node.
    Any,
    /// One with a tag that one has.
    TagOfOne,
    /// One with such a tag, if it has room.
    PreferredTagOfOne,
    /// The one to which a key belongs.
    Sticky,
    /// A certain one.
    Node,
}

impl Pool {
    /// `nodes` nodes with a tag of their own each, and room for 8 calls.
    ///
    /// # Panics
    /// If there is no loopback interface.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be built");
        let peer = runtime.block_on(Peer::new()).expect("peers can connect on loopback");
        let mut table = Table::default();
        for n in 0..nodes {
            let tags = vec![format!("tag-{n}"), "all".to_owned()];
            let register = Register { tags, capacity: 8, functions: vec![offer("f"), offer("g")] };
            table.insert(&peer.node(&format!("node-{n}"), register).0).expect("ids differ");
        }
        Self { table, keys: 0, nodes, busy: Vec::new(), _runtime: runtime }
    }

    /// Takes all places that there are.
    pub fn fill(&mut self) {
        while let Outlook::Now(route) = self.table.outlook(&call("f")) {
            route.take();
            self.busy.push(route);
        }
    }

    /// Finds a place for a call, takes it and gives it back. Says whether there was one.
    pub fn pick(&mut self, wanted: Wanted) -> bool {
        let mut header = call("f");
        self.keys = self.keys.wrapping_add(1);
        let n = self.keys as usize % self.nodes;
        match wanted {
            Wanted::Any => {}
            Wanted::TagOfOne => header.wish.tags.push(format!("tag-{n}")),
            Wanted::PreferredTagOfOne => header.wish.preferred.push(format!("tag-{n}")),
            Wanted::Sticky => {
                header.wish.sticky = Some(self.keys.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
            Wanted::Node => header.wish.on = Some(format!("node-{n}")),
        }
        let Outlook::Now(route) = self.table.outlook(&header) else { return false };
        route.take();
        self.table.release(&route);
        true
    }
}
