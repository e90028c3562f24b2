//! The scenarios: the required behaviour of the functions over the network.
//!
//! Times are checked by order and overlap, never by milliseconds: a busy machine is slower, but
//! does not change the order.

mod calls;
mod clean_up;
mod errors;
mod received;
mod streams;
mod together;

use std::time::{Duration, Instant};

use easyremote::Client;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::timeout;

use crate::functions::endless::endless_alive;
use crate::report::{Report, Row};
use crate::{Failure, with_causes};

/// The measurements of a scenario that passed.
#[derive(Debug, Default)]
struct Seen {
    /// From the call to its first item.
    first_item: Option<Duration>,
    order_kept: Option<bool>,
    note: String,
}

impl Seen {
    fn note(note: impl Into<String>) -> Self {
        Self { note: note.into(), ..Self::default() }
    }
}

type Outcome = Result<Seen, Failure>;

struct Scenario {
    name: &'static str,
    run: fn(Client) -> BoxFuture<'static, Outcome>,
}

/// All scenarios, in order.
const SCENARIOS: [Scenario; 14] = [
    Scenario { name: "basic calls", run: |client| calls::basic(client).boxed() },
    Scenario { name: "basic calls, by name", run: |client| calls::by_name(client).boxed() },
    Scenario { name: "sync against async", run: |client| together::overlap(client).boxed() },
    Scenario { name: "live: sync_number_stream", run: |client| streams::numbers(client).boxed() },
    Scenario { name: "live: async_data_stream", run: |client| streams::sensors(client).boxed() },
    Scenario { name: "live: async_ml_inference_stream", run: |c| streams::inference(c).boxed() },
    Scenario { name: "live: async_complex_pipeline", run: |c| streams::pipeline(c).boxed() },
    Scenario { name: "concurrent calls", run: |client| together::concurrent(client).boxed() },
    Scenario { name: "streams and calls together", run: |client| together::mixed(client).boxed() },
    Scenario { name: "clean-up", run: |client| clean_up::abandoned(client).boxed() },
    Scenario { name: "error: unknown function", run: |c| errors::unknown_function(c).boxed() },
    Scenario { name: "error: taken port", run: |_| errors::taken_port().boxed() },
    Scenario { name: "error: no gateway", run: |_| errors::no_gateway().boxed() },
    Scenario { name: "error: failing item", run: |client| errors::failing_item(client).boxed() },
];

/// Longest time that a scenario may take; none is meant to take more than two seconds.
const LONGEST: Duration = Duration::from_secs(15);
/// Longest wait for the node: the time for which a role dials the gateway.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Runs all scenarios, one after the other, once a node is registered; reports the results, and
/// returns whether all have passed.
pub(crate) async fn run(client: &Client, jsonl: bool) -> Result<bool, Failure> {
    let no_node = |_| format!("no node of this example has come in {LONGEST_WAIT:?}");
    timeout(LONGEST_WAIT, node(client)).await.map_err(no_node)??;
    let mut report = Report::begin(jsonl)?;
    for scenario in SCENARIOS {
        report.add(&scenario.row(client.clone()).await)?;
    }
    Ok(report.end()?)
}

/// Waits until a node offers the functions; it registers all of them at once.
async fn node(client: &Client) -> Result<(), easyremote::Error> {
    endless_alive::call(client).wait_for_node().await.map(drop)
}

impl Scenario {
    async fn row(&self, client: Client) -> Row {
        let started = Instant::now();
        let outcome = match timeout(LONGEST, (self.run)(client)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("not done in {LONGEST:?}").into()),
        };
        let total = started.elapsed().as_secs_f64();
        let (passed, seen) = match outcome {
            Ok(seen) => (seen.order_kept != Some(false), seen),
            Err(failure) => (false, Seen::note(with_causes(&*failure))),
        };
        let Seen { first_item, order_kept, note } = seen;
        let first_item = first_item.map(|first| first.as_secs_f64());
        Row { scenario: self.name, passed, first_item, total, order_kept, note }
    }
}

/// Fails the scenario with a text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($text)+).into());
        }
    };
}
use ensure;
