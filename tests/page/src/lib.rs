//! A real Chromium for the tests of the page, and a server that says what a test wants it to.

pub mod browser;
pub mod stub;

use std::future::Future;
use std::time::Duration;

/// Waits for an event, for as long as a test may take.
pub async fn soon<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(LIMIT, event).await.expect("it has not happened in time")
}

/// Far more than anything here takes on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(60);
