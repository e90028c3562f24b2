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
use crate::function::handler::Reply;
use crate::node::exec::kept_run::{ENTRY, KeptRun};
use crate::node::kept::{Kept, KeptCharge};
use crate::wire::job::{JobId, JobNumber, JobState};
use crate::wire::limits::MAX_JOBS;

/// How long an answer is kept that nobody has collected: a job that ends at night is there in the
/// morning.
const UNCOLLECTED: Duration = Duration::from_secs(24 * 3_600);

/// How long an answer is kept after a caller has collected it, for others who wait for it, and for
/// one who loses it.
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
    /// The numbers in `runs` of the jobs of each identity.
    jobs: HashMap<Arc<str>, BTreeMap<JobNumber, u64>>,
    /// Deadlines of runs, and ends of the time for which answers are kept.
    due: Deadlines<u64>,
    /// The number of the next run.
    next: u64,
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

    /// Charges a run to the budget of `identity`.
    ///
    /// # Errors
    /// `Overloaded` if the budget is used up.
    pub(super) fn charge(&self, identity: &str) -> Result<KeptCharge, Error> {
        self.kept.charge(identity, ENTRY)
    }

    /// Adds a job.
    ///
    /// # Errors
    /// `Overloaded` if its identity has too many; `Protocol` if the job is there already.
    pub(super) fn add_job(self: &Arc<Self>, run: KeptRun) -> Result<RunHandle, Error> {
        let (run, number) = {
            let mut table = self.table.lock();
            let table = &mut *table;
            let jobs = table.jobs.get(run.identity());
            if jobs.is_some_and(|jobs| jobs.contains_key(&run.number)) {
                // Callers and gateways of this library never send a call again that may have
                // arrived.
                let text = "the node has accepted this job before";
                return Err(Error::new(ErrorKind::Protocol, text).with_evidence(Evidence::Sent));
            } else if jobs.is_some_and(|jobs| jobs.len() >= MAX_JOBS) {
                let text = format!(
                    "the node has {MAX_JOBS} jobs of this identity: collect the results of those \
                     that have ended"
                );
                return Err(Error::new(ErrorKind::Overloaded, text));
            }
            let (run, number) = (Arc::new(run), table.next);
            table.next += 1;
            let identity: Arc<str> = run.identity().into();
            table.jobs.entry(identity).or_default().insert(run.number, number);
            table.runs.insert(number, run.clone());
            if let Some(deadline) = run.deadline {
                self.schedule(table, number, deadline);
            }
            (run, number)
        };
        Ok(RunHandle { runs: self.clone(), run, number, ended: false })
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

    /// Notes that the owner of a job has its result.
    pub(super) fn collect(&self, run: &Arc<KeptRun>) {
        if run.collect()
            && let Some(at) = run.expires(UNCOLLECTED, COLLECTED)
        {
            let mut table = self.table.lock();
            let jobs = table.jobs.get(run.identity());
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
            let id = JobId::new(run.number, &run.function.name, run.context.node()).ok()?;
            let (identity, state) = (run.identity().to_owned(), run.status().state);
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
    fn remove(&mut self, number: u64) -> Option<Arc<KeptRun>> {
        let run = self.runs.remove(&number)?;
        if let Some(jobs) = self.jobs.get_mut(run.identity()) {
            jobs.remove(&run.number);
            if jobs.is_empty() {
                self.jobs.remove(run.identity());
            }
        }
        Some(run)
    }
}

impl RunHandle {
    pub(super) fn number(&self) -> JobNumber {
        self.run.number
    }

    /// Notes that the function starts.
    pub(super) fn note_start(&self) {
        self.run.note_start();
    }

    /// Ends the run with its answer.
    pub(super) fn end(&mut self, answer: Result<Reply, Error>) {
        self.ended = true;
        self.run.end(answer);
        if let Some(at) = self.run.expires(UNCOLLECTED, COLLECTED) {
            self.runs.schedule(&mut self.runs.table.lock(), self.number, at);
        }
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
