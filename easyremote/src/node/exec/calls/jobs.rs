//! Jobs, calls that run without their callers, and requests about them.
//!
//! A job is a call like any other, in the table of the session that it has arrived over, but
//! nothing that happens to its caller or to that session ends it. It keeps its place at the
//! gateway until it ends, as an abandoned call does. Its answer stays in [`Runs`].
//!
//! [`Runs`]: crate::node::exec::runs::Runs

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::handler::{Body, Reply};
use crate::function::signature::Signature;
use crate::node::exec::admission::AdmittedCall;
use crate::node::exec::calls::keys::digest;
use crate::node::exec::calls::{JobGuard, NodeCalls};
use crate::node::exec::job::ReadyCall;
use crate::node::exec::kept_run::{KeptRun, RunControl, RunKey, RunUse};
use crate::node::exec::runs::Joined;
use crate::node::exec::table::{CallKey, Responder, RunningCall};
use crate::transport::mux::writer::MuxWriter;
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::frame::{self, FRAME_HEADER, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::job::{JobNumber, JobRequest, put_listed};
use crate::wire::job_census::{CensusJob, MAX_CENSUS};
use crate::wire::limits::MessageLimits;

/// Where the call of a run is. Weak: the run outlives its call.
pub(super) struct RunLocation {
    calls: Weak<NodeCalls>,
    key: CallKey,
}

impl RunLocation {
    pub(super) fn new(calls: &Arc<NodeCalls>, key: CallKey) -> Self {
        Self { calls: Arc::downgrade(calls), key }
    }
}

impl RunControl for RunLocation {
    fn cancel(&self, error: Error) {
        if let Some(calls) = self.calls.upgrade() {
            calls.table.lock().cancel(self.key, error);
        }
    }

    fn expire(&self) {
        if let Some(calls) = self.calls.upgrade() {
            calls.table.lock().expire(Instant::now());
        }
    }
}

impl NodeCalls {
    /// Makes a job of a call that is ready to run: from now on it runs without its caller. Returns
    /// the number of the job. That is another one if there is a job with the key of the call: then
    /// the call is not to be executed, and has no [run](RunningCall::run).
    ///
    /// # Errors
    /// Those of [`Runs::join`](crate::node::exec::runs::Runs::join).
    pub(in crate::node::exec) fn accept_job(
        self: &Arc<Self>,
        call: &mut RunningCall,
        job: &ReadyCall,
    ) -> Result<JobNumber, Error> {
        let (context, codec) = (call.context.clone(), job.request.codec);
        let key = RunKey::of(&context, digest(job));
        let joined = self.node().runs.join((RunUse::Job, codec), &context, key, |_, charge| {
            let control = Box::new(RunLocation::new(self, job.key));
            let (of, form) = ((RunUse::Job, context.clone()), (codec, call.deadline));
            KeptRun::new(&call.function, of, form, control, charge)
        })?;
        Ok(match joined {
            Joined::Known(run, _) => run.number,
            Joined::New(handle) => {
                let number = handle.run().number;
                call.run = Some(Box::new(handle));
                number
            }
        })
    }

    /// Answers a request about jobs, at once or when the job ends.
    ///
    /// # Errors
    /// The error to answer with.
    pub(in crate::node::exec) fn answer_request(
        self: &Arc<Self>,
        mut header: CallHeader,
        key: CallKey,
        responder: Responder,
    ) -> Result<(), Error> {
        let (node, request) = (self.node(), header.job_request().cloned());
        let deadline = header.timeout.map(|left| Instant::now() + left);
        // The gateway passes on no such request of a caller.
        if request == Some(JobRequest::Census) {
            let reply = self.list_all_jobs()?;
            self.respond(key, responder, reply, &header.function, deadline, MuxWriter::push_frames);
            return Ok(());
        }
        let (Some(caller), Some(request)) = (header.caller.take(), request) else {
            return Err(Error::new(ErrorKind::Protocol, "the gateway does not name the caller"));
        };
        let job = |number| {
            let run = node.runs.job(&caller.identity, &number)?;
            // The gateway has checked whether the caller may call this function.
            if run.function.name == header.function {
                return Ok(run);
            }
            let text = format!("this is a job of `{}`", run.function.name);
            Err(Error::new(ErrorKind::InvalidInput, text))
        };
        let reply = match request {
            JobRequest::Status(number) => job(number)?.report(),
            JobRequest::Collected(number) => {
                let run = job(number)?;
                node.runs.collect(&run);
                run.report()
            }
            JobRequest::Cancel(number) => {
                let run = job(number)?;
                let text = format!("the job of `{}` was cancelled by its owner", header.function);
                run.cancel(Error::new(ErrorKind::Cancelled, text));
                run.report()
            }
            JobRequest::Result(number, wait) => {
                let run = job(number)?;
                let rewrites = rewrites(run.codec, header.codec)?;
                let (function, operators) = (&run.function, Vec::new());
                let call = AdmittedCall { function, header, caller, deadline, operators };
                let limits = self.session.limits;
                let (call, _) = call.prepare(&self.session, key, responder, Body::default());
                let answer = async move {
                    let reply = run.answer_within(wait, limits.max_message).await;
                    if rewrites { by_name(reply, run.function.signature, limits) } else { reply }
                };
                self.answer_later(key, call, answer);
                return Ok(());
            }
            JobRequest::List | JobRequest::Census => self.list_jobs(&caller.identity)?,
        };
        self.respond(key, responder, reply, &header.function, deadline, MuxWriter::push_frames);
        Ok(())
    }

    /// Answers a call with the output of `answer`, which runs no function.
    fn answer_later(
        self: &Arc<Self>,
        key: CallKey,
        call: RunningCall,
        answer: impl Future<Output = Reply> + Send + 'static,
    ) {
        self.node().counters.in_flight.fetch_add(1, Ordering::Relaxed);
        if self.table.lock().insert(key, call) {
            self.sooner.notify_one();
        }
        let guard = JobGuard::new(self, key, None);
        self.spawn_abortable(key, async move {
            let reply = answer.await;
            guard.finish(Ok(reply));
        });
    }

    /// Returns the frame with the jobs of `identity`.
    ///
    /// # Errors
    /// `TooLarge` if the list exceeds the limit of messages.
    fn list_jobs(&self, identity: &str) -> Result<Reply, Error> {
        let jobs = self.node().runs.jobs(identity);
        self.listed(|frames| {
            for run in jobs {
                put_listed(frames, run.number, &run.function.name, &run.status());
            }
        })
    }

    /// Returns the frame with all jobs, for the gateway.
    ///
    /// # Errors
    /// As for [`list_jobs`](Self::list_jobs).
    fn list_all_jobs(&self) -> Result<Reply, Error> {
        let jobs = self.node().runs.all_jobs(MAX_CENSUS);
        self.listed(|frames| {
            for (key, run) in jobs {
                let (function, identity) =
                    (run.function.name.to_string(), run.identity.to_string());
                let (age, status) = (run.age(), run.status());
                CensusJob { key, function, identity, age, status }.put(frames);
            }
        })
    }

    /// Returns the frame with a list that `put` appends.
    fn listed(&self, put: impl FnOnce(&mut Reply)) -> Result<Reply, Error> {
        let mut frames = Reply::new();
        let start = frame::begin(&mut frames, FrameKind::Body);
        put(&mut frames);
        let max_message = self.session.limits.max_message;
        frame::finish(&mut frames, start, max_message).map_err(|length| {
            let text = format!("the list of jobs has {length} bytes; the limit is {max_message}");
            Error::new(ErrorKind::TooLarge, text)
        })?;
        Ok(frames)
    }
}

/// Returns whether the answer of a job, which was `spawned` in one codec, has to be written by name for
/// a caller that has `asked` in another one.
///
/// # Errors
/// `InvalidInput` if only one of them is JSON, or only the job is by name.
fn rewrites(spawned: Codec, asked: Codec) -> Result<bool, Error> {
    match (spawned, asked) {
        _ if spawned == asked || (spawned.is_by_name() && asked.is_by_name()) => Ok(false),
        (Codec::Bincode, asked) if asked.is_by_name() => Ok(true),
        _ => {
            let text = "this job was spawned by name, or is asked for by name although it was not: \
                        use `job_json` for the first, and `job` for the second";
            Err(Error::new(ErrorKind::InvalidInput, text))
        }
    }
}

/// Returns the answer of a job, which was spawned with types, for a caller that reads it by name.
fn by_name(reply: Reply, signature: &Signature, limits: MessageLimits) -> Reply {
    let (kind, of) = match reply.first() {
        Some(kind) if *kind == FrameKind::Body as u8 => (FrameKind::Body, signature.value),
        Some(kind) if *kind == FrameKind::Fault as u8 => (FrameKind::Fault, signature.failure),
        _ => return reply,
    };
    let mut named = Reply::new();
    let start = frame::begin(&mut named, kind);
    let written = of.rewrite_by_name(&reply[FRAME_HEADER..], &mut named, limits.max_decoded);
    let finished = written.and_then(|_| {
        let longer = |length| format!("it has {length} bytes by name, which are too many");
        frame::finish(&mut named, start, limits.max_message).map_err(longer)
    });
    if let Err(text) = finished {
        let text = format!("the result of the job cannot be sent by name: {text}");
        let error = Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered);
        named.clear();
        put_error(&mut named, &error);
    }
    named
}
