//! A client whose calls are answered by closures and expectations.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::function::remote::Remote;
use crate::gateway::Refusal;
use crate::testing::mock_builder::MockBuilder;
use crate::testing::script::Script;
use crate::testing::world::World;

/// A [`Client`] for code under test whose calls are answered without the functions' bodies.
///
/// Only the client's side of a function is needed, so functions of an API crate can be mocked too.
/// Calls go through a gateway to a node, as in a [`World`]: what the code under test sees is
/// encoded, sent, and decoded, errors included. Calls [by name](Client::call_json) are answered as
/// well.
///
/// A call of a function that the mock does not know fails with
/// [`ErrorKind::NoSuchFunction`](crate::ErrorKind), and [`verify`](Self::verify) reports it; one
/// that [waits for a node](crate::Call::wait_for_node) waits for ever.
///
/// Dropping it ends all of that, as dropping a [`World`] does.
///
/// ```
/// use easyremote::testing::Mock;
/// use easyremote::{CallError, Client, remote};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct DivisionByZero;
///
/// #[remote]
/// fn divide(a: i64, b: i64) -> Result<i64, DivisionByZero> {
///     a.checked_div(b).ok_or(DivisionByZero)
/// }
///
/// /// The code under test.
/// async fn mean(client: &Client, a: i64, b: i64) -> Option<i64> {
///     let sum = add::call(client, a, b).await.ok()?;
///     divide::call(client, sum, 2).await.ok()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// let mock = Mock::builder()
///     .on::<add>(|(a, b)| Ok(a + b))
///     .expect::<divide>((10, 2), Ok(5))
///     .expect::<divide>((20, 2), Err(CallError::Function(DivisionByZero)))
///     .serve()
///     .await?;
/// assert_eq!(mean(mock.client(), 3, 7).await, Some(5));
/// assert_eq!(mean(mock.client(), 10, 10).await, None);
/// assert_eq!(mock.calls::<add>(), [(3, 7), (10, 10)]);
/// mock.verify();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mock {
    world: World,
    scripts: BTreeMap<&'static str, Arc<Script>>,
    refusals: Mutex<Refusals>,
}

/// Calls that have not come as far as to the mock's node.
#[derive(Debug)]
struct Refusals {
    coming: mpsc::UnboundedReceiver<Refusal>,
    /// In the order in which they came. A call that is retried has been made once.
    known: Vec<Refusal>,
}

impl Mock {
    /// A mock that answers nothing yet.
    pub fn builder() -> MockBuilder {
        MockBuilder::new()
    }

    pub(super) fn new(
        world: World,
        scripts: BTreeMap<&'static str, Arc<Script>>,
        refused: mpsc::UnboundedReceiver<Refusal>,
    ) -> Self {
        let refusals = Refusals { coming: refused, known: Vec::new() };
        Self { world, scripts, refusals: Mutex::new(refusals) }
    }

    /// The client for the code under test.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.world.client()
    }

    /// What the mock runs in: for code under test that connects by itself, and to lose the node or
    /// the gateway during a call.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The arguments of all calls of `F` so far, in the order of their arrival, unexpected ones
    /// included.
    ///
    /// # Panics
    /// If there is no answer for `F`.
    #[must_use]
    pub fn calls<F: Remote>(&self) -> Vec<F::Arguments> {
        self.script::<F>().calls::<F>()
    }

    /// Waits until `F` has been called so many times since the start, unexpected calls included: to
    /// go on when code under test that runs beside the test has come so far. There is no limit to
    /// the wait.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    ///
    /// # Panics
    /// If there is no answer for `F`.
    pub async fn called<F: Remote>(&self, n_calls: usize) {
        self.script::<F>().called(n_calls).await;
    }

    /// Checks that all has been called as expected: as many calls as
    /// [`expect`](MockBuilder::expect) and [`times`](MockBuilder::times) say, and none beside.
    ///
    /// It looks at what has arrived by now. A call has arrived when its caller has the answer.
    ///
    /// # Panics
    /// If not. The text lists each expectation that was not met, each call that was not expected,
    /// and each that the gateway refused because there is no such function, or no such node.
    #[track_caller]
    pub fn verify(&self) {
        let mut complaints: Vec<String> =
            self.scripts.values().flat_map(|script| script.complaints()).collect();
        let mut refusals = self.refusals.lock();
        while let Ok(refusal) = refusals.coming.try_recv() {
            // Each attempt of one call has the same id.
            if !refusals.known.iter().any(|known| known.call == refusal.call) {
                refusals.known.push(refusal);
            }
        }
        complaints.extend(
            refusals.known.iter().map(|refusal| {
                format!("`{}(..)`: refused call: {}", refusal.function, refusal.error)
            }),
        );
        // A failed check must not get in the way of the next.
        drop(refusals);
        assert!(
            complaints.is_empty(),
            "the mock was not called as expected:\n- {}",
            complaints.join("\n- ")
        );
    }

    fn script<F: Remote>(&self) -> &Arc<Script> {
        let name = F::DESCRIPTOR.name;
        self.scripts.get(name).unwrap_or_else(|| {
            let known: Vec<&str> = self.scripts.keys().copied().collect();
            panic!("the mock has no answer for `{name}`, but for {known:?}")
        })
    }
}
