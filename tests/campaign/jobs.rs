//! Jobs of a campaign: spawned by one program, found again and collected by another one.

use std::time::Duration;

use easyremote::client::{Job, JobId};
use easyremote::{Client, Error, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::calls::{Caller, Outcome, Plan, Seen, value};
use crate::functions::train;
use crate::parts::node_number;

/// Jobs take longer than calls, so that more can happen to them.
const LONGER: u64 = 4;

/// How long a node of a job may be away: several faults one after the other.
const AWAY: Duration = Duration::from_secs(100);

/// Spawns a job, perhaps twice with one key, and asks twice for its result.
pub(crate) async fn run(plan: &Plan, caller: &Caller, seen: &mut Seen) -> Outcome {
    let id = match spawn(plan, &caller.client).await {
        Ok(job) => job.id().to_string(),
        Err(error) => return Outcome::failed(&error),
    };
    let id: JobId = match id.parse() {
        Ok(id) => id,
        Err(error) => return Outcome::Wrong(format!("`{id}`: {error}")),
    };
    seen.accepted = node_number(id.node());
    if plan.spawns_again
        && let Ok(again) = spawn(plan, &caller.other).await
        && *again.id() != id
    {
        seen.accepted_again = node_number(again.id().node());
    }
    let job: Job<train> = caller.other.job(&id);
    if plan.cancels {
        // If this fails, the job may run to its end.
        let _ = job.cancel().await;
    }
    let outcome = result(&job, plan.id).await;
    seen.result_again = Some(result(&job, plan.id).await);
    outcome
}

async fn spawn(plan: &Plan, client: &Client) -> Result<Job<train>, Error> {
    let call = train::call(client, plan.id, LONGER * plan.size);
    if plan.spawns_again {
        call.key(format!("job {}", plan.id)).spawn().await
    } else {
        call.spawn().await
    }
}

/// Waits for the result, however often the node cannot be reached.
async fn result(job: &Job<train>, id: u64) -> Outcome {
    let begun = Instant::now();
    loop {
        let outcome = value(job.result().await, id);
        let again = outcome.error_kind().is_some_and(is_out_of_reach);
        if !again || begun.elapsed() > AWAY {
            return outcome;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether an error says that the node could not be asked.
pub(crate) fn is_out_of_reach(kind: ErrorKind) -> bool {
    use ErrorKind::{
        ConnectionLost, Draining, NoNode, NoSuchFunction, NodeLost, Overloaded, Unavailable,
    };
    matches!(
        kind,
        ConnectionLost | Draining | NoNode | NoSuchFunction | NodeLost | Overloaded | Unavailable
    )
}
