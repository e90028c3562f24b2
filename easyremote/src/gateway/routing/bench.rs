//! Access to the router for its benchmark.

use std::sync::Arc;

use crate::gateway::policy::access::Access;
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::router::{CallPermit, Registration, Router};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::header::CallHeader;

/// A router with nodes but without a gateway, for the routing benchmark.
#[derive(Debug)]
pub struct Pool {
    router: Arc<Router<()>>,
    keys: u64,
    header: CallHeader,
    busy: Vec<CallPermit<()>>,
    registrations: Vec<Registration<()>>,
}

/// The routing options of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any node.
    Any,
    /// A tag that exactly one node has.
    TagOfOne,
    /// The same tag, preferred but not required.
    PreferredTagOfOne,
    /// A sticky key.
    Sticky,
    /// A node by its id.
    Node,
}

impl Pool {
    /// Creates `nodes` nodes, each with a unique tag and 8 slots.
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

    /// Acquires all permits.
    pub fn fill(&mut self) {
        while let Some(Ok(permit)) = self.router.try_acquire(&call("f")) {
            self.busy.push(permit);
        }
    }

    /// Finds a node for a call, acquires a permit and drops it. Returns whether a permit was
    /// available.
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
