//! What the bench of routing sees of a gateway.

use std::sync::Arc;

use crate::gateway::policy::access::Access;
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::router::{CallPermit, Registration, Router};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::header::CallHeader;

/// A gateway's nodes without a gateway, for the bench of routing.
#[derive(Debug)]
pub struct Pool {
    router: Arc<Router<()>>,
    keys: u64,
    header: CallHeader,
    busy: Vec<CallPermit<()>>,
    registrations: Vec<Registration<()>>,
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
    /// Never: the ids of the nodes differ.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let router = Arc::new(Router::new(Arc::<Access>::default(), OutlierOptions::new()));
        let register = |n: usize| {
            let tags = vec![format!("tag-{n}"), "all".to_owned()];
            let functions = vec![offer("f"), offer("g")];
            let sample =
                Sample { tags, functions, capacity: 8, ..Sample::new(&format!("node-{n}")) };
            Registration::new(&router, sample.node()).expect("ids differ").0
        };
        let registrations = (0..nodes).map(register).collect();
        Self { router, keys: 0, header: call("f"), busy: Vec::new(), registrations }
    }

    /// Takes all permits that there are.
    pub fn fill(&mut self) {
        while let Some(Ok(permit)) = self.router.try_acquire(&call("f")) {
            self.busy.push(permit);
        }
    }

    /// Finds a node for a call, acquires a permit and drops it. Returns whether there was one.
    pub fn pick(&mut self, wanted: Wanted) -> bool {
        let mut header = self.header.clone();
        self.keys = self.keys.wrapping_add(1);
        let n = self.keys as usize % self.registrations.len();
        match wanted {
            Wanted::Any => {}
            Wanted::TagOfOne => header.routing.tags.push(format!("tag-{n}")),
            Wanted::PreferredTagOfOne => header.routing.preferred.push(format!("tag-{n}")),
            Wanted::Sticky => {
                header.routing.sticky = Some(self.keys.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
            Wanted::Node => header.routing.on = Some(format!("node-{n}")),
        }
        matches!(self.router.try_acquire(&header), Some(Ok(_)))
    }
}
