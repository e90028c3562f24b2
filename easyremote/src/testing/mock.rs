//! A mock: a client whose calls are answered by closures and expectations.

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

/// A [`Client`] for code under test, whose calls are answered without running the functions.
///
/// Only the stub of a function is needed, so declared functions of an API crate can be mocked too.
/// Calls go through a gateway to a node, as in a [`World`]: answers and errors are encoded, sent
/// and decoded. Calls [by name](Client::call_json) are answered as well.
///
/// A call of a function that the mock does not know fails with
/// [`ErrorKind::NoSuchFunction`](crate::ErrorKind), and [`verify`](Self::verify) reports it. If it
/// [waits for a node](crate::Call::wait_for_node), it waits for ever.
///
/// Dropping the mock ends its gateway, node and client, as dropping a [`World`] does.
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
#[doc(alias = "fake")]
#[doc(alias = "stub")]
pub struct Mock {
    world: World,
    scripts: BTreeMap<&'static str, Arc<Script>>,
    refusals: Mutex<Refusals>,
}

/// Calls that the gateway refused before they reached the mock's node.
#[derive(Debug)]
struct Refusals {
    coming: mpsc::UnboundedReceiver<Refusal>,
    /// In the order of arrival. The attempts of one call are listed once.
    known: Vec<Refusal>,
}

impl Mock {
    /// Returns a builder for a mock; without answers, it refuses all calls.
    ///
    /// ```
    /// use easyremote::{remote, testing::Mock};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|_| Ok(42)).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
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

    /// Returns the client for the code under test.
    ///
    /// ```
    /// # use easyremote::{Client, remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # async fn under_test(client: &Client) -> Option<i64> {
    /// #     add::call(client, 1, 2).await.ok()
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|_| Ok(42)).serve().await?;
    /// assert_eq!(under_test(mock.client()).await, Some(42));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn client(&self) -> &Client {
        self.world.client()
    }

    /// Returns the world that the mock runs in: for code under test that connects by itself, and to
    /// lose the node or the gateway during a call.
    ///
    /// ```
    /// # use easyremote::{Client, Role, remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|_| Ok(42)).serve().await?;
    /// let ticket = mock.world().ticket(Role::Client).to_string(); // for the program's settings
    /// # assert_eq!(add::call(&Client::connect(ticket).await?, 1, 2).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Returns the arguments of all calls of `F` so far, in the order of arrival, including
    /// unexpected calls.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|(a, b)| Ok(a + b)).serve().await?;
    /// add::call(mock.client(), 1, 2).await?;
    /// add::call(mock.client(), 3, 4).await?;
    /// assert_eq!(mock.calls::<add>(), [(1, 2), (3, 4)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the mock has no answer for `F`.
    #[doc(alias = "invocations")]
    #[must_use]
    pub fn calls<F: Remote>(&self) -> Vec<F::Arguments> {
        self.script::<F>().calls::<F>()
    }

    /// Waits until `F` has been called `n_calls` times since the start, including unexpected calls.
    ///
    /// Use it to wait for code under test that runs concurrently with the test. The wait has no
    /// time limit.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().hang::<add>().serve().await?;
    /// let call = tokio::spawn(add::call(mock.client(), 1, 2));
    /// mock.called::<add>(1).await; // no need to sleep
    /// call.abort();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and nothing else.
    ///
    /// # Panics
    /// If the mock has no answer for `F`.
    #[doc(alias = "wait")]
    pub async fn called<F: Remote>(&self, n_calls: usize) {
        self.script::<F>().called(n_calls).await;
    }

    /// Checks that the calls were exactly those that [`expect`](MockBuilder::expect) and
    /// [`times`](MockBuilder::times) require, and no others.
    ///
    /// It checks the calls that have arrived by now. A call has arrived once its caller has the
    /// answer.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().expect::<add>((1, 2), Ok(3)).serve().await?;
    /// add::call(mock.client(), 1, 2).await?;
    /// mock.verify();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If they were not. The message lists each unmet expectation, each unexpected call, and each
    /// call that the gateway refused because no node offers the function or no such node exists.
    #[doc(alias = "assert")]
    #[doc(alias = "checkpoint")]
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
        // Before the panic: a later check must be able to lock it.
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
            panic!("the mock has no answer for `{name}`; it has answers for {known:?}")
        })
    }
}
