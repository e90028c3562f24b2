//! Changes that a registered node requests. Of several pending requests, only the latest is
//! applied.

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

/// Sustained rate at which a node's tags may change, per second.
const PER_SECOND: f64 = 20.0;

/// Burst of tag changes that a node may make at once.
const BURST: f64 = 100.0;

/// The pending changes of a node. While one change is being applied or is rate-limited, later
/// requests replace each other: however many a node sends, the last one holds in the end.
pub(super) struct NodeChanges {
    registration: Arc<Registration<NodeLink>>,
    state: Arc<GatewayState>,
    asked: Option<Retag>,
    /// The change that is being applied; resolves to its number.
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

    /// Requests other tags for the node.
    pub(super) fn retag(&mut self, retag: Retag) {
        self.asked = Some(retag);
    }

    /// Starts to drain the node: it gets no more calls.
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

    /// Applies the next change and returns the number of the tags that then hold. Cancel safe.
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
