//! What a gateway shows to those who do not come over QUIC.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use crate::call::function_meter::FunctionStats;
use crate::error::{Error, ErrorKind};
use crate::gateway::Gateway;
#[cfg(feature = "metrics")]
use crate::gateway::MetricsFormat;
use crate::gateway::directory::{Directory, ListKind, Question};
use crate::gateway::drain::DrainStage;
use crate::gateway::policy::tokens::Admitted;
use crate::gateway::relay::census::jobs_at;
use crate::gateway::relay::failed_calls::FailedCall;
use crate::gateway::routing::WaitingCallInfo;
use crate::gateway::state::GatewayState;
use crate::transport::auth::bearer::Bearer;
use crate::transport::auth::credentials::{Secret, Token};
use crate::transport::auth::identity::Pin;
use crate::transport::stream_table::StreamStats;
use crate::wire::caller::Caller;
use crate::wire::control::{Role, TokenId};
use crate::wire::directory::{GatewayStats, HTTP, NodeInfo, STATS};
use crate::wire::frame::FRAME_HEADER;
use crate::wire::job_census::CensusJob;
use crate::wire::kind::Kind;

/// A function with its figures, as far as nodes offer it now.
#[derive(Debug, Serialize)]
pub(crate) struct OfferedFunction {
    #[serde(flatten)]
    pub(crate) stats: FunctionStats,
    /// How many nodes offer it.
    nodes: usize,
    /// Which sides send a stream; `None` if no node offers it.
    kind: Option<Kind>,
}

/// The calls of one function, at one node, of one identity.
#[derive(Debug)]
pub(crate) struct CallsUnderWay {
    pub(crate) function: String,
    pub(crate) node: String,
    pub(crate) identity: String,
    pub(crate) running: u64,
    /// How long the oldest of them has taken.
    pub(crate) oldest: Duration,
}

/// A running gateway, which may end while this exists.
#[derive(Clone, Debug)]
pub(crate) struct GatewayView(Arc<GatewayState>);

/// A node that forwards HTTP requests.
#[derive(Debug)]
pub(crate) struct ForwardingNode {
    pub(crate) id: String,
    pub(crate) tags: Arc<Vec<String>>,
}

/// What a bearer is good for, without its secret. To be kept where no one can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BearerGrant {
    pub(crate) role: Role,
    pub(crate) token: TokenId,
    pub(crate) generation: u64,
}

fn invalid_bearer() -> Error {
    let text = "the bearer is not valid at this gateway, or no longer valid: get another one from \
                `Gateway::bearer`";
    Error::new(ErrorKind::Unauthenticated, text)
}

impl Gateway {
    pub(crate) fn view(&self) -> GatewayView {
        GatewayView(self.shared.clone())
    }
}

impl GatewayView {
    /// Returns the hash that the gateway's key has to have.
    pub(crate) fn pin(&self) -> Pin {
        self.0.identity.pin()
    }

    /// Derives a stable key for another purpose from the gateway's identity.
    pub(crate) fn derive(&self, purpose: &str) -> Secret {
        self.0.identity.derive(purpose)
    }

    /// Returns the token that this bearer is derived from, and the identity that a request with it
    /// has.
    ///
    /// # Errors
    /// `Unauthenticated` if the bearer is not valid, or no longer.
    pub(crate) fn admit(&self, shown: &Bearer) -> Result<(Token, Admitted), Error> {
        let state = &self.0;
        let found = state.tokens.find(shown.role(), shown.token()).ok_or_else(invalid_bearer)?;
        let generation = state.bearers.generation(shown.role(), &found.name)?;
        let pin = state.identity.pin();
        let valid = Bearer::derive(&found.token, shown.role(), &pin, generation);
        // In constant time, as all comparisons of secrets.
        let valid = valid.filter(|valid| valid == shown).ok_or_else(invalid_bearer);
        valid.map(|_| (found.token, found.admission))
    }

    /// Returns the token of a bearer and how often it has been replaced: what a stream that it has
    /// opened needs to be continued.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub(crate) fn grant(&self, bearer: &Bearer) -> Result<BearerGrant, Error> {
        let (token, role) = (bearer.token(), bearer.role());
        let found = self.0.tokens.find(role, token).ok_or_else(invalid_bearer)?;
        let generation = self.0.bearers.generation(role, &found.name)?;
        Ok(BearerGrant { role, token, generation })
    }

    /// Returns the token that the bearer of a grant was derived from, and the identity that a request
    /// with it would have.
    ///
    /// # Errors
    /// `Unauthenticated` if the bearer is no longer valid.
    pub(crate) fn readmit(&self, grant: &BearerGrant) -> Result<(Token, Admitted), Error> {
        let found = self.0.tokens.find(grant.role, grant.token).ok_or_else(invalid_bearer)?;
        match self.0.bearers.generation(grant.role, &found.name)? == grant.generation {
            true => Ok((found.token, found.admission)),
            false => Err(invalid_bearer()),
        }
    }

    /// Returns whether the gateway takes calls.
    pub(crate) fn is_serving(&self) -> bool {
        self.0.drain.stage() == DrainStage::Serving && !self.0.ending.has_begun()
    }

    /// Waits until the gateway ends. Cancel safe.
    pub(crate) async fn ends(&self) {
        self.0.ending.begun().await;
    }

    /// Checks that `caller` may see what concerns the gateway as a whole.
    ///
    /// # Errors
    /// `PermissionDenied` if it may not.
    pub(crate) fn check_overseer(&self, caller: &Caller) -> Result<(), Error> {
        self.0.access.check_call(Some(caller), STATS)
    }

    /// Returns the functions that `caller` may call, as JSON.
    ///
    /// # Errors
    /// `TooLarge` if the list exceeds the message limit.
    pub(crate) async fn functions_for(&self, caller: &Caller) -> Result<Bytes, Error> {
        self.list(ListKind::Functions, caller).await
    }

    /// Returns the nodes with those functions, as JSON.
    ///
    /// # Errors
    /// As [`functions_for`](Self::functions_for).
    pub(crate) async fn nodes_for(&self, caller: &Caller) -> Result<Bytes, Error> {
        self.list(ListKind::Nodes, caller).await
    }

    async fn list(&self, kind: ListKind, caller: &Caller) -> Result<Bytes, Error> {
        let scope = self.0.access.scope(caller);
        let mut frame = Directory::answer(Question::List(kind), &scope, &self.0).await?;
        Ok(frame.split_off(FRAME_HEADER.min(frame.len())))
    }

    /// Returns the nodes that forward HTTP requests, sorted by id, for who may call them.
    ///
    /// # Errors
    /// `PermissionDenied` if `caller` may not.
    pub(crate) fn forwarders_for(&self, caller: &Caller) -> Result<Vec<ForwardingNode>, Error> {
        self.0.access.check_call(Some(caller), HTTP)?;
        let table = self.0.dispatcher.router.table();
        let routes = table.function(HTTP).map_or(&[][..], |function| &function.routes);
        let mut nodes: Vec<_> = routes
            .iter()
            .map(|route| ForwardingNode { id: route.node.id().to_owned(), tags: route.node.tags() })
            .collect();
        nodes.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(nodes)
    }

    pub(crate) fn stats(&self) -> GatewayStats {
        self.0.stats()
    }

    pub(crate) fn function_stats(&self) -> Vec<FunctionStats> {
        self.0.dispatcher.router.functions()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn metrics(&self, format: MetricsFormat) -> String {
        self.0.metrics(format)
    }

    pub(crate) fn streams(&self) -> Vec<StreamStats> {
        self.0.streams.stats()
    }

    /// Returns the first `n` open streams, the oldest first.
    pub(crate) fn first_streams(&self, n: usize) -> Vec<StreamStats> {
        self.0.streams.first(n)
    }

    /// Returns the time since the gateway started.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Returns all nodes, sorted by id.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.0.dispatcher.router.nodes()
    }

    /// Returns the figures of all functions, with the nodes that offer them.
    pub(crate) fn offered_functions(&self) -> Vec<OfferedFunction> {
        let (stats, table) = (self.function_stats(), self.0.dispatcher.router.table());
        let of = |stats: FunctionStats| {
            let offered = table.function(&stats.function).map(|it| &it.routes);
            let first = offered.and_then(|routes| routes.first());
            OfferedFunction {
                nodes: offered.map_or(0, Vec::len),
                kind: first.map(|route| route.offer().kind),
                stats,
            }
        };
        stats.into_iter().map(of).collect()
    }

    /// Returns up to `n` of the calls that wait, and how many others there are.
    pub(crate) fn waiting_calls(&self, n: usize) -> (Vec<WaitingCallInfo>, u64) {
        self.0.dispatcher.router.waiting_calls(n)
    }

    /// Returns the calls that nodes run or have in their queues, and whose callers wait: the most
    /// numerous `n` groups, and how many other groups there are.
    pub(crate) fn calls_under_way(&self, n: usize) -> (Vec<CallsUnderWay>, u64) {
        let mut groups = Vec::new();
        for node in self.0.dispatcher.router.table().nodes() {
            let mut of_node: HashMap<usize, HashMap<String, (u64, Duration)>> = HashMap::new();
            node.handle().each_call(|offer, identity, age| {
                let of_function = of_node.entry(offer).or_default();
                let (running, oldest) = match of_function.get_mut(identity) {
                    Some(group) => group,
                    None => of_function.entry(identity.to_owned()).or_default(),
                };
                *running += 1;
                *oldest = age.max(*oldest);
            });
            for (offer, of_function) in of_node {
                let function = &node.offers()[offer].offer.name;
                groups.extend(of_function.into_iter().map(|(identity, (running, oldest))| {
                    let (function, node) = (function.clone(), node.id().to_owned());
                    CallsUnderWay { function, node, identity, running, oldest }
                }));
            }
        }
        let more = groups.len().saturating_sub(n) as u64;
        groups.sort_unstable_by_key(|group| Reverse((group.running, group.oldest)));
        groups.truncate(n);
        (groups, more)
    }

    /// Asks the nodes that have jobs for them. Returns the jobs of each node that answers.
    pub(crate) async fn jobs(&self) -> Vec<(String, Vec<CensusJob>)> {
        /// Nodes that are asked at a time.
        const AT_ONCE: usize = 16;
        /// Time for all of them, however many do not answer.
        const PATIENCE: Duration = Duration::from_secs(2);
        let table = self.0.dispatcher.router.table();
        let nodes = table.nodes().into_iter().filter(|node| node.n_jobs() > 0).cloned();
        let asks = stream::iter(nodes.collect::<Vec<_>>()).map(|node| async move {
            let id = node.id().to_owned();
            Some((id, jobs_at(node).await.ok()?))
        });
        let answers = asks.buffer_unordered(AT_ONCE).filter_map(std::future::ready);
        answers.take_until(sleep(PATIENCE)).collect().await
    }

    /// Returns the calls that have failed last, the oldest first.
    pub(crate) fn failed_calls(&self) -> Vec<Arc<FailedCall>> {
        self.0.dispatcher.failed.last()
    }
}
