//! The gateways of a client: its connection to each, for their keepers and for its calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::error::Error;
use crate::transport::live_connection::LiveConnection;

/// The status of each of a client's gateways, by number.
///
/// A client sends its calls to one gateway. It uses others only when that one has no node for a
/// call, and connects to them only then.
#[derive(Debug)]
pub(crate) struct GatewayBoard {
    statuses: watch::Sender<Vec<GatewayStatus>>,
    /// Notified when a call needs another gateway.
    asked: Notify,
}

/// The status of a gateway, as seen by a client.
#[derive(Clone, Debug)]
pub(crate) enum GatewayStatus {
    /// No call needs a connection.
    Unwanted,
    /// It is being dialled, and no attempt has failed.
    Dialling,
    /// It cannot be reached, or refuses this client.
    Down {
        error: Error,
        /// Whether the error persists until someone changes a configuration.
        refused: bool,
    },
    /// Connected.
    Up(Arc<LiveConnection>),
}

impl GatewayStatus {
    /// Returns the connection, unless it is closed.
    pub(crate) fn live(&self) -> Option<&Arc<LiveConnection>> {
        match self {
            Self::Up(live) if live.connection.close_reason().is_none() => Some(live),
            _ => None,
        }
    }
}

impl GatewayBoard {
    /// Creates a board for `n` gateways.
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

    /// Records that a gateway is being dialled. One that was `Down` stays so until it is connected.
    pub(crate) fn set_dialling(&self, gateway: usize) {
        self.statuses.send_if_modified(|statuses| {
            let unwanted = matches!(statuses[gateway], GatewayStatus::Unwanted);
            if unwanted {
                statuses[gateway] = GatewayStatus::Dialling;
            }
            unwanted
        });
    }

    /// Wakes all subscribers, after a connection has changed.
    pub(crate) fn touch(&self) {
        self.statuses.send_modify(|_| {});
    }

    /// Marks all gateways as down: no connection will be made any more.
    pub(crate) fn close(&self, error: &Error) {
        let down = GatewayStatus::Down { error: error.clone(), refused: false };
        self.statuses.send_modify(|statuses| statuses.fill(down));
    }

    /// Requests a connection to another gateway.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits for a request. Cancel safe.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns whether there is a gateway that is not in `tried`.
    pub(crate) fn has_other(&self, tried: &[usize]) -> bool {
        (0..self.statuses.borrow().len()).any(|gateway| !tried.contains(&gateway))
    }

    /// Waits until the gateway of `live` drains and another one does not, so that what `live` carries
    /// can go on there. Cancel safe.
    pub(crate) async fn left_for_another(&self, live: &LiveConnection) {
        let mut statuses = self.statuses.subscribe();
        let found = statuses.wait_for(|statuses| live.drains() && statuses.iter().any(is_fit));
        // Cannot fail: this has the sender.
        let _ = found.await;
    }

    /// Returns a connection to the next gateway of the list that is not in `tried` and does not
    /// drain. Waits for gateways that are being dialled, for at most `limit`; those that cannot be
    /// reached are skipped.
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

/// Returns the gateways that are not in `tried`, starting after the last of these.
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
