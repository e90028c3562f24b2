//! The gateways of a client: where it has connections, for those who keep them and for its calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::error::Error;
use crate::transport::live_connection::LiveConnection;

/// How a client stands with each of its gateways, by their numbers.
///
/// A client has one gateway for its calls. It asks others when that one has no node for a call, and
/// has connections to them only then.
#[derive(Debug)]
pub(crate) struct GatewayBoard {
    statuses: watch::Sender<Vec<GatewayStatus>>,
    /// Notified when a call wants another gateway.
    asked: Notify,
}

/// How a client stands with a gateway.
#[derive(Clone, Debug)]
pub(crate) enum GatewayStatus {
    /// Nobody wants a connection.
    Unwanted,
    /// It is dialled, and has not failed to answer.
    Dialling,
    /// It cannot be reached, or it does not let this client in.
    Down {
        error: Error,
        /// Waiting does not help: somebody has to change something.
        refused: bool,
    },
    /// There is a connection.
    Up(Arc<LiveConnection>),
}

impl GatewayStatus {
    /// The connection, if it is of use.
    pub(crate) fn live(&self) -> Option<&Arc<LiveConnection>> {
        match self {
            Self::Up(live) if live.connection.close_reason().is_none() => Some(live),
            _ => None,
        }
    }
}

impl GatewayBoard {
    /// For so many gateways.
    pub(crate) fn new(n: usize) -> Self {
        let statuses = watch::Sender::new(vec![GatewayStatus::Unwanted; n]);
        Self { statuses, asked: Notify::new() }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<GatewayStatus>> {
        self.statuses.subscribe()
    }

    pub(crate) fn set(&self, gateway: usize, status: GatewayStatus) {
        self.statuses.send_modify(|statuses| statuses[gateway] = status);
    }

    /// Notes that a gateway is dialled. One that could not be reached counts as such until it is.
    pub(crate) fn set_dialling(&self, gateway: usize) {
        self.statuses.send_if_modified(|statuses| {
            let unwanted = matches!(statuses[gateway], GatewayStatus::Unwanted);
            if unwanted {
                statuses[gateway] = GatewayStatus::Dialling;
            }
            unwanted
        });
    }

    /// Has everybody look at the connections again, one of which has changed.
    pub(crate) fn touch(&self) {
        self.statuses.send_modify(|_| {});
    }

    /// Notes that there will be no connections any more.
    pub(crate) fn close(&self, error: &Error) {
        let down = GatewayStatus::Down { error: error.clone(), refused: false };
        self.statuses.send_modify(|statuses| statuses.fill(down));
    }

    /// Says that another gateway is wanted than the one that calls go to.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until somebody has asked. Cancel safe.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether there is a gateway that is not among those `tried`.
    pub(crate) fn has_other(&self, tried: &[usize]) -> bool {
        (0..self.statuses.borrow().len()).any(|gateway| !tried.contains(&gateway))
    }

    /// A connection to the next gateway, in the order of the list, that is not among those `tried`
    /// and does not drain. Waits for one that is dialled, for at most `limit`; one that cannot be
    /// reached is not waited for.
    pub(crate) async fn elsewhere(
        &self,
        tried: &[usize],
        limit: Duration,
    ) -> Option<Arc<LiveConnection>> {
        self.ask();
        let mut statuses = self.statuses.subscribe();
        let found = statuses.wait_for(|statuses| {
            let others = others(statuses, tried);
            others.clone().any(is_fit) || !others.into_iter().any(may_be_up_soon)
        });
        let statuses = timeout(limit, found).await.ok()?.ok()?;
        others(&statuses, tried).find(|status| is_fit(status))?.live().cloned()
    }
}

/// Those that are not among those `tried`, from the one behind the last of these on.
fn others<'a>(
    statuses: &'a [GatewayStatus],
    tried: &'a [usize],
) -> impl Iterator<Item = &'a GatewayStatus> + Clone {
    let n = statuses.len();
    let after = tried.last().map_or(0, |last| last + 1);
    let in_turn = (0..n).map(move |i| (after + i) % n);
    in_turn.filter(|gateway| !tried.contains(gateway)).map(|gateway| &statuses[gateway])
}

fn is_fit(status: &GatewayStatus) -> bool {
    status.live().is_some_and(|live| !live.drains())
}

fn may_be_up_soon(status: &GatewayStatus) -> bool {
    matches!(status, GatewayStatus::Unwanted | GatewayStatus::Dialling)
}
