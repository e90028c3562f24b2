//! The changes that a node asks for, of which only the last counts.

use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::sleep;
use tracing::info;

use crate::gateway::peer_log::LineKind;
use crate::gateway::relay::node_link::NodeLink;
use crate::gateway::routing::Registration;
use crate::gateway::state::GatewayState;
use crate::transport::log_limit::Brief;
use crate::transport::token_bucket::TokenBucket;
use crate::wire::control::Retag;

/// How often a node can have other tags for good, a second.
const PER_SECOND: f64 = 20.0;

/// The same at once.
const BURST: f64 = 100.0;

/// What a node wants changed. While one change is made, or is not allowed yet, those that follow
/// take the place of each other: however many a node asks for, the last one holds in the end.
pub(super) struct NodeChanges {
    registration: Arc<Registration<NodeLink>>,
    state: Arc<GatewayState>,
    asked: Option<Retag>,
    /// The change that is being made; gives its number.
    making: Option<BoxFuture<'static, u64>>,
    pace: TokenBucket,
}

impl NodeChanges {
    pub(super) fn new(
        registration: &Arc<Registration<NodeLink>>,
        state: &Arc<GatewayState>,
    ) -> Self {
        Self {
            registration: registration.clone(),
            state: state.clone(),
            asked: None,
            making: None,
            pace: TokenBucket::new(PER_SECOND, BURST),
        }
    }

    /// The node is to have other tags.
    pub(super) fn retag(&mut self, retag: Retag) {
        self.asked = Some(retag);
    }

    /// The node is to get no more calls.
    pub(super) fn drain(&mut self) {
        let node = self.registration.node();
        if node.drain() {
            if let Some(left_out) = self.state.log.of_peer(node.identity(), LineKind::Drains) {
                info!(left_out, "node drains");
            }
            let registration = self.registration.clone();
            self.state.table_work.later(move || registration.fail_waiting());
        }
    }

    /// Makes the next change; gives the number of the tags that hold then. Cancel safe.
    pub(super) async fn made(&mut self) -> u64 {
        loop {
            if let Some(making) = &mut self.making {
                let number = Pin::new(making).await;
                self.making = None;
                return number;
            }
            if self.asked.is_none() {
                return std::future::pending().await;
            }
            let pause = self.pace.time_until(1.0);
            if !pause.is_zero() {
                sleep(pause).await;
            } else if let Some(Retag { number, tags }) = self.asked.take() {
                self.pace.add(-1.0);
                self.making = Some(self.make(number, tags));
            }
        }
    }

    fn make(&self, number: u64, tags: Vec<String>) -> BoxFuture<'static, u64> {
        let node = self.registration.node();
        if *node.tags() == tags {
            return std::future::ready(number).boxed();
        }
        if let Some(left_out) = self.state.log.of_peer(node.identity(), LineKind::Retagged) {
            let tags = Brief(format_args!("{tags:?}")).to_string();
            info!(%tags, left_out, "node has other tags");
        }
        let (registration, worker) = (self.registration.clone(), self.state.table_work.clone());
        let change = async move { worker.run(move || registration.retag(tags)).await };
        change.map(move |()| number).boxed()
    }
}
