//! The runs of a node that outlive their callers, and their answers, until they expire.
//!
//! They belong to the node, and not to a session with a gateway: a job goes on when its gateway is
//! lost, and is found through any gateway that the node is registered at.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::call::deadline::{Deadlines, watch};
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::handler::Reply;
use crate::node::exec::kept_run::{KeptRun, RunKey, RunUse, entry};
use crate::node::kept::{Kept, KeptCharge};
use crate::wire::codec::Codec;
use crate::wire::job::{JobId, JobNumber, JobState};
use crate::wire::limits::MAX_JOBS;

/// How long an answer is kept that nobody has collected: a job that ends at night is there in the
/// morning.
const UNCOLLECTED: Duration = Duration::from_secs(24 * 3_600);

/// How long the result of a job is kept after a caller has collected it, for others who wait for it
/// and for one who loses it; and how long a key keeps the answer of its run.
const COLLECTED: Duration = Duration::from_secs(600);

/// The runs of a node that outlive their callers.
#[derive(Debug)]
pub(in crate::node) struct Runs {
    kept: Arc<Kept>,
    table: Mutex<RunTable>,
    /// Notified when something is due earlier than everything else.
    sooner: Notify,
    /// Notified when a run has ended, was collected, or has expired.
    changed: Notify,
}

#[derive(Debug, Default)]
struct RunTable {
    runs: HashMap<u64, Arc<KeptRun>>,
    /// The numbers in `runs` of those that have a key, and what their callers must agree in.
    keys: HashMap<RunKey, (u64, u128)>,
    /// The numbers in `runs` of the jobs of each identity.
    jobs: HashMap<Arc<str>, BTreeMap<JobNumber, u64>>,
    /// Deadlines of runs, and ends of the time for which answers are kept.
    due: Deadlines<u64>,
    /// The number of the next run.
    next: u64,
}

/// The run that a call has joined.
#[derive(Debug)]
pub(super) enum Joined {
    /// Which is new.
    New(RunHandle),
    /// Which was there, and whether it counts the call among its callers.
    Known(Arc<KeptRun>, bool),
}

/// A run in the table of calls. It ends with [`end`](Self::end), or when this is dropped.
#[derive(Debug)]
pub(super) struct RunHandle {
    runs: Arc<Runs>,
    run: Arc<KeptRun>,
    number: u64,
    ended: bool,
}

/// A job that a node has lost by ending, from [`Node::drain`](crate::Node::drain).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LostJob {
    /// The id of the job.
    pub id: JobId,
    /// The identity that has spawned it.
    pub identity: String,
    /// Its state: of a job that has succeeded or failed, nobody has collected the result.
    pub state: JobState,
}

impl Runs {
    pub(in crate::node) fn new(kept: &Arc<Kept>) -> Arc<Self> {
        let (sooner, changed) = (Notify::new(), Notify::new());
        Arc::new(Self { kept: kept.clone(), table: Mutex::default(), sooner, changed })
    }

    /// Joins the run with this key. If there is none, or the call has no key, adds the run that
    /// `make` returns for its number and its charge. A job that is added has no caller; another run
    /// has one.
    ///
    /// # Errors
    /// - `InvalidInput` if the run with the key has other arguments, or is for another use.
    /// - `Overloaded` if the identity has too many jobs, or too much is kept for it.
    /// - `Protocol` if the job is there already.
    pub(super) fn join(
        self: &Arc<Self>,
        (purpose, codec): (RunUse, Codec),
        context: &Context,
        key: Option<(RunKey, u128)>,
        make: impl FnOnce(u64, KeptCharge) -> KeptRun,
    ) -> Result<Joined, Error> {
        let mut table = self.table.lock();
        let table = &mut *table;
        let of_key = key.as_ref().and_then(|(key, digest)| Some((table.keys.get(key)?, digest)));
        if let Some(((number, there), digest)) = of_key
            && let Some(run) = table.runs.get(number).filter(|run| !run.is_forgotten())
        {
            if (there, run.purpose, run.codec) != (digest, purpose, codec) {
                return Err(other_use(run, context));
            }
            let counted = purpose == RunUse::Call && run.join();
            return Ok(Joined::Known(run.clone(), counted));
        }
        if purpose == RunUse::Job {
            table.check_job(context)?;
        }
        let charge = self.kept.charge(&context.caller().identity, entry(purpose, context))?;
        let number = table.next;
        table.next += 1;
        let mut run = make(number, charge);
        run.key = key.map(|(key, digest)| {
            table.keys.insert(key.clone(), (number, digest));
            key
        });
        let run = Arc::new(run);
        match purpose {
            RunUse::Job => {
                let jobs = table.jobs.entry(run.identity.clone()).or_default();
                jobs.insert(run.number, number);
            }
            RunUse::Call => drop(run.join()),
        }
        table.runs.insert(number, run.clone());
        if let Some(deadline) = run.deadline {
            self.schedule(table, number, deadline);
        }
        Ok(Joined::New(RunHandle { runs: self.clone(), run, number, ended: false }))
    }

    /// Returns a job of `identity`.
    ///
    /// # Errors
    /// `NoSuchJob` if there is none, or it is of another identity.
    pub(super) fn job(&self, identity: &str, number: &JobNumber) -> Result<Arc<KeptRun>, Error> {
        let table = self.table.lock();
        let found = table.jobs.get(identity).and_then(|jobs| jobs.get(number));
        found.and_then(|found| table.runs.get(found)).cloned().ok_or_else(|| {
            let text = "the node has no such job of this identity: it has expired, was lost when \
                        the node was restarted, or belongs to another identity";
            Error::new(ErrorKind::NoSuchJob, text).with_evidence(Evidence::Sent)
        })
    }

    /// Returns all jobs of `identity`.
    pub(super) fn jobs(&self, identity: &str) -> Vec<Arc<KeptRun>> {
        let table = self.table.lock();
        let jobs = table.jobs.get(identity).into_iter().flat_map(BTreeMap::values);
        jobs.filter_map(|number| table.runs.get(number).cloned()).collect()
    }

    /// Returns the first `n` jobs of all identities, each with its number in this table.
    pub(super) fn all_jobs(&self, n: usize) -> Vec<(u64, Arc<KeptRun>)> {
        let table = self.table.lock();
        let jobs = table.runs.iter().filter(|(_, run)| run.purpose == RunUse::Job);
        let mut jobs: Vec<_> = jobs.map(|(number, run)| (*number, run.clone())).collect();
        drop(table);
        jobs.sort_unstable_by_key(|(number, _)| *number);
        jobs.truncate(n);
        jobs
    }

    /// Returns the number of jobs that have not ended, and of those that have and are kept.
    pub(in crate::node) fn n_jobs(&self) -> (u64, u64) {
        let table = self.table.lock();
        let jobs = table.runs.values().filter(|run| run.purpose == RunUse::Job);
        jobs.fold((0, 0), |(live, kept), run| match run.is_ended() {
            true => (live, kept + 1),
            false => (live + 1, kept),
        })
    }

    /// Notes that the owner of a job has its result.
    pub(super) fn collect(&self, run: &Arc<KeptRun>) {
        if run.collect()
            && let Some(at) = run.expires(UNCOLLECTED, COLLECTED)
        {
            let mut table = self.table.lock();
            let jobs = table.jobs.get(&run.identity);
            if let Some(&number) = jobs.and_then(|jobs| jobs.get(&run.number)) {
                self.schedule(&mut table, number, at);
            }
            drop(table);
            self.changed.notify_waiters();
        }
    }

    fn schedule(&self, table: &mut RunTable, number: u64, at: Instant) {
        let RunTable { runs, due, .. } = table;
        let is_live = |number| runs.contains_key(&number);
        // Up to three times for each run: its deadline, its end, and its collection.
        if due.add(at, number, 2 * runs.len(), is_live) {
            self.sooner.notify_one();
        }
    }

    /// Stops runs whose deadlines have passed, and drops answers that have expired, while it is
    /// polled.
    pub(in crate::node) async fn tend(&self) -> Infallible {
        let next = || self.table.lock().due.next();
        watch(&self.sooner, next, |now| self.pass(now)).await
    }

    /// Does what is due by `now`.
    fn pass(&self, now: Instant) {
        let (mut late, mut expired) = (Vec::new(), Vec::new());
        let mut table = self.table.lock();
        while let Some(number) = table.due.take(now) {
            let Some(run) = table.runs.get(&number) else { continue };
            match run.expires(UNCOLLECTED, COLLECTED) {
                None => late.push(run.clone()),
                Some(at) if at <= now => expired.extend(table.remove(number)),
                // It has been collected since.
                Some(_) => {}
            }
        }
        drop(table);
        // Not under the lock: stopping a run may end it, which takes the lock.
        late.iter().for_each(|run| run.expire());
        if !expired.is_empty() {
            self.changed.notify_waiters();
        }
    }

    /// Waits until every job has ended and its result was collected. Cancel safe.
    pub(in crate::node) async fn settled(&self) {
        loop {
            // Created before the check, so that no notification is missed.
            let changed = self.changed.notified();
            if !self.table.lock().runs.values().any(|run| run.is_awaited()) {
                return;
            }
            changed.await;
        }
    }

    /// Returns the jobs that have not ended, or whose results nobody has collected.
    pub(in crate::node) fn lost(&self) -> Vec<LostJob> {
        let runs: Vec<_> = self.table.lock().runs.values().cloned().collect();
        let lost = runs.iter().filter(|run| run.is_awaited()).filter_map(|run| {
            let id = JobId::new(run.number, &run.function.name, run.node()).ok()?;
            let (identity, state) = (run.identity.to_string(), run.status().state);
            Some(LostJob { id, identity, state })
        });
        let mut lost: Vec<_> = lost.collect();
        lost.sort_by(|one, two| one.id.cmp(&two.id));
        lost
    }

    /// Cancels all runs, because the node ends.
    pub(in crate::node) fn close(&self) {
        let runs: Vec<_> = self.table.lock().runs.values().cloned().collect();
        for run in runs.iter().filter(|run| !run.is_ended()) {
            run.cancel(Error::new(ErrorKind::Cancelled, "the node shut down"));
        }
    }
}

impl RunTable {
    /// Checks that the identity of a call may have one more job, and has not had this one.
    ///
    /// # Errors
    /// `Overloaded` or `Protocol` if not.
    fn check_job(&self, context: &Context) -> Result<(), Error> {
        let Some(jobs) = self.jobs.get(&*context.caller().identity) else { return Ok(()) };
        if jobs.contains_key(&context.call_id().to_be_bytes()) {
            // Callers and gateways of this library never send a call again that may have arrived.
            let text = "the node has accepted this job before";
            return Err(Error::new(ErrorKind::Protocol, text).with_evidence(Evidence::Sent));
        } else if jobs.len() < MAX_JOBS {
            return Ok(());
        }
        let text = format!(
            "the node has {MAX_JOBS} jobs of this identity: collect the results of those that have \
             ended"
        );
        Err(Error::new(ErrorKind::Overloaded, text))
    }

    /// Frees the key of a run, for another one.
    fn free_key(&mut self, run: &KeptRun, number: u64) {
        if let Some(key) = &run.key
            // Another run may have it by now.
            && self.keys.get(key).is_some_and(|(other, _)| *other == number)
        {
            self.keys.remove(key);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<KeptRun>> {
        let run = self.runs.remove(&number)?;
        self.free_key(&run, number);
        if run.purpose == RunUse::Job
            && let Some(jobs) = self.jobs.get_mut(&run.identity)
        {
            jobs.remove(&run.number);
            if jobs.is_empty() {
                self.jobs.remove(&run.identity);
            }
        }
        Some(run)
    }
}

/// Returns the error of a call whose key is in use by `run`, which does not match.
fn other_use(run: &KeptRun, context: &Context) -> Error {
    let (key, what) = (
        context.key().unwrap_or_default(),
        match run.purpose {
            RunUse::Job => "a job",
            RunUse::Call => "a call",
        },
    );
    let text = format!(
        "the key `{key}` is in use by {what} of `{}` with other arguments, by name where this one \
         is not, or used otherwise: choose another key",
        run.function.name
    );
    Error::new(ErrorKind::InvalidInput, text)
}

impl RunHandle {
    pub(super) fn run(&self) -> &Arc<KeptRun> {
        &self.run
    }

    /// Returns the number of the run at this node.
    pub(super) fn index(&self) -> u64 {
        self.number
    }

    /// Notes that the function is about to start. Returns whether it may.
    pub(super) fn note_start(&self) -> bool {
        self.run.note_start()
    }

    /// Ends the run with its answer.
    pub(super) fn end(&mut self, answer: Result<Reply, Error>) {
        self.ended = true;
        self.run.end(answer);
        let mut table = self.runs.table.lock();
        let forgotten = self.run.is_forgotten();
        if forgotten {
            table.free_key(&self.run, self.number);
        }
        if forgotten && self.run.purpose == RunUse::Call {
            table.remove(self.number);
        } else if let Some(at) = self.run.expires(UNCOLLECTED, COLLECTED) {
            self.runs.schedule(&mut table, self.number, at);
        }
        drop(table);
        self.runs.changed.notify_waiters();
    }
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        if !self.ended {
            // The call was dropped before it was in the table of calls, or together with it.
            let text = "the call ended before its function started";
            self.end(Err(Error::new(ErrorKind::Cancelled, text)));
        }
    }
}

#[cfg(test)]
mod tests;
