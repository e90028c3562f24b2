//! Tests of routing with plain values: no connections, and a manual clock.

mod counting;
mod explaining;
mod model;
mod outliers;
mod reasons;
mod registering;
mod strategies;
mod stress;
mod waiting;

use std::sync::Arc;

use crate::error::Error;
use crate::gateway::policy::access::Access;
use crate::gateway::routing::clock::RouterClock;
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::router::{CallPermit, Registration, Router};
use crate::gateway::routing::sample::Sample;
use crate::wire::header::CallHeader;

/// Creates a router with a manual clock.
fn router() -> Arc<Router<()>> {
    router_with(OutlierOptions::new())
}

fn router_with(outliers: OutlierOptions) -> Arc<Router<()>> {
    Arc::new(Router::with_clock(Arc::<Access>::default(), outliers, RouterClock::manual()))
}

fn try_register(router: &Arc<Router<()>>, sample: Sample) -> Result<Registration<()>, Error> {
    Registration::new(router, sample.node()).map(|(registration, _)| registration)
}

fn register(router: &Arc<Router<()>>, sample: Sample) -> Registration<()> {
    try_register(router, sample).unwrap()
}

impl Registration<()> {
    /// Closes the node.
    fn drain(&self) {
        self.node().drain();
        self.fail_waiting();
    }
}

/// Acquires a permit that is available at once.
fn acquire(router: &Arc<Router<()>>, header: &CallHeader) -> CallPermit<()> {
    match router.try_acquire(header) {
        Some(Ok(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

/// Returns the id of the node that gets a call; the call ends at once.
fn pick(router: &Arc<Router<()>>, header: &CallHeader) -> String {
    acquire(router, header).node().id().to_owned()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}
