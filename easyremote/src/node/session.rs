//! A node's session with one gateway: dials, registers, serves calls, and reconnects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind};
use crate::gauge::Gauge;
use crate::node::exec;
use crate::node::exec::calls::NodeCalls;
use crate::node::state::{NodeState, Session};
use crate::node::tags::TagSync;
use crate::transport::connection::{ConnectionState, ManagedConnection};
use crate::transport::control_stream::ControlStream;
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::io::farewell::GoodbyeGuard;
use crate::transport::io::{self, IoTask, TaskSet};
use crate::transport::quic::goodbye::ClosedEndpoint;
use crate::transport::quic::reset;
use crate::transport::quic::stream::halves;
use crate::wire::control::Control;
use crate::wire::gauges::GaugeReport;
use crate::wire::limits::MessageLimits;

/// Keeps the node registered at one gateway until `stop` is cancelled.
///
/// The outcome of the first attempt, which `patience` limits, goes to `first`. After that it dials
/// without a limit, after a lost connection as after a failed first attempt; if no gateway could be
/// reached at all, `Node::serve` fails and cancels `stop`.
pub(super) async fn keep(
    mut dialler: Dialler,
    gateway: usize,
    node: Arc<NodeState>,
    patience: Duration,
    first: mpsc::Sender<Result<(), Error>>,
    tasks: Arc<TaskSet>,
    (stop, guard): (CancellationToken, GoodbyeGuard),
) {
    let (publish, state) = watch::channel(ConnectionState::Connecting);
    let link = ManagedConnection::new(tasks, state, node.connect_timeout, node.limits);
    let link = match link {
        Ok(link) => Arc::new(link),
        Err(error) => {
            let _ = first.send(Err(error)).await;
            return;
        }
    };
    let (mut first, mut again) = (Some(first), false);
    loop {
        let limit = first.is_some().then_some(patience);
        let mut tags = node.tags.before_registration(gateway);
        let dialled = dial(&mut dialler, limit, &node, &publish, &stop).await;
        let Some(dialled) = dialled else { return };
        let outcome = dialled.as_ref().map(|_| ()).map_err(Error::clone);
        // Counted before `first` is told: `Node::serve` then returns, and `set_tags` must already
        // see this gateway as registered.
        let _registered = dialled.is_ok().then(|| {
            tags.registered();
            Gauge::up(&node.counters.gateways)
        });
        if let Some(first) = first.take() {
            let _ = first.send(outcome).await; // Fails if the future of `serve` was dropped.
        }
        let Ok(dialled) = dialled else { continue };
        info!(gateway = %dialler.target(), id = %node.id, "registered");
        // The idle signal is not needed: `serve` below observes `stop`, and says goodbye itself.
        let (live, _) = dialled.live(gateway, again);
        link.reconnects.fetch_add(u64::from(again), Ordering::Relaxed);
        again = true;
        publish.send_replace(ConnectionState::Connected(Arc::new(live)));
        let connection = dialled.connection.clone();
        let (error, closed) = serve(dialled, &node, tags, &link, &stop).await;
        let rtt = connection.rtt();
        drop(connection);
        if stop.is_cancelled() || drained(&node).now_or_never().is_some() {
            publish.send_replace(ConnectionState::Closed);
            drop(guard);
            return closed.drained().await;
        }
        let expelled = error.kind() == ErrorKind::Unauthenticated;
        if expelled {
            dialler.expelled();
        } else if error.kind() == ErrorKind::Draining {
            dialler.expect_back(rtt);
        }
        publish.send_replace(unconnected(&error, expelled));
        warn!(gateway = %dialler.target(), error = %error.chain(), "connection lost");
    }
}

/// Dials the gateway and publishes the state after each failed attempt. `None` if the node stops or
/// drains meanwhile.
async fn dial(
    dialler: &mut Dialler,
    limit: Option<Duration>,
    node: &NodeState,
    publish: &watch::Sender<ConnectionState>,
    stop: &CancellationToken,
) -> Option<Result<Dialled, Error>> {
    let failed = |error: &Error, refused: bool| {
        publish.send_replace(unconnected(error, refused));
    };
    tokio::select! {
        () = stop.cancelled() => None,
        () = drained(node) => None,
        dialled = dialler.dial(limit, failed) => Some(dialled),
    }
}

/// Resolves when the node drains, and has no job whose result may be asked for: until then it comes
/// back.
async fn drained(node: &NodeState) {
    node.draining.cancelled().await;
    node.runs.settled().await;
    node.resumable.empty().await;
}

/// The state of a connection that failed, or could not be made, because of `error`.
fn unconnected(error: &Error, refused: bool) -> ConnectionState {
    match refused {
        true => ConnectionState::Refused(error.clone()),
        false => ConnectionState::Connecting,
    }
}

/// Serves the calls of one connection until it ends, and says goodbye to the gateway. Returns why
/// it ended, and the endpoint, which stays open while the goodbye may have to be sent again.
async fn serve(
    dialled: Dialled,
    node: &Arc<NodeState>,
    tags: TagSync<'_>,
    link: &Arc<ManagedConnection>,
    stop: &CancellationToken,
) -> (Error, ClosedEndpoint) {
    let Dialled { endpoint, connection, control, max_message, .. } = dialled;
    let session = Arc::new(Session {
        node: node.clone(),
        link: link.clone(),
        connection: connection.clone(),
        windows: control.windows().clone(),
        limits: MessageLimits { max_message, ..node.limits },
        has_mux: AtomicBool::new(false),
    });
    let calls = OpenSession(NodeCalls::new(session));
    let mut dialogue = Dialogue { control, tags, drained: false };
    // Aborted with the session: no one is left to receive the responses.
    let mut streams = FuturesUnordered::new();
    let left = tokio::select! {
        () = stop.cancelled() => Error::new(ErrorKind::Cancelled, "the node shuts down"),
        left = dialogue.run(&calls.0) => left,
        left = accept(&calls.0, &mut streams) => left,
        never = calls.0.expire() => match never {},
        never = calls.0.oversee() => match never {},
    };
    let code = reset::code(ErrorKind::NodeLost);
    let reason: &[u8] = match node.runtime_ended.load(Ordering::Relaxed) {
        true => b"the node has left: the tokio runtime that it was started from has ended",
        false => b"the node has left",
    };
    (left, ClosedEndpoint::new(endpoint, connection, code, reason).await)
}

/// The calls of a running session. Dropping it gives all of them up.
struct OpenSession(Arc<NodeCalls>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Serves the streams that the gateway opens, until the connection ends.
async fn accept(calls: &Arc<NodeCalls>, streams: &mut FuturesUnordered<IoTask<()>>) -> Error {
    let Session { connection, windows, .. } = &*calls.session;
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    let halves = halves(stream, windows);
                    calls.accept_stream(halves.0.id());
                    streams.push(io::spawn(exec::streams::serve(halves, calls.clone())));
                }
                Err(cause) => return reset::connection_error(cause, ErrorKind::ConnectionLost),
            },
            Some(_) = streams.next(), if !streams.is_empty() => {}
        }
    }
}

/// The node's side of the control stream.
struct Dialogue<'a> {
    control: ControlStream,
    tags: TagSync<'a>,
    /// Whether the gateway has all responses and sends no more calls.
    drained: bool,
}

/// Waits until no function runs, the result of each job was collected, and no reader of a resumable
/// stream has to come back for its end.
async fn idle(node: &NodeState, all_permits: u32) {
    // Never fails: the semaphore is not closed.
    let _permits = node.running.acquire_many(all_permits).await;
    node.runs.settled().await;
    node.resumable.empty().await;
}

impl Dialogue<'_> {
    /// Exchanges control messages with the gateway until the session ends; returns why it ended.
    async fn run(&mut self, calls: &NodeCalls) -> Error {
        let node = &calls.session.node;
        let mut load = node.load.subscribe();
        // Report the current load at once, not only after the next change.
        load.mark_changed();
        let mut gauges = node.states.gauges.subscribe();
        let all_permits = node.concurrency.try_into().unwrap_or(u32::MAX);
        let mut told = false;
        loop {
            let next = tokio::select! {
                () = node.draining.cancelled(), if !told => {
                    told = true;
                    self.control.queue(&Control::Draining)
                }
                retag = self.tags.changed() => self.control.queue(&Control::Retag(retag)),
                // The sender is in `node`.
                Ok(()) = load.changed() => {
                    if let Some(load) = *load.borrow_and_update() {
                        self.control.note(Control::Load(load));
                    }
                    self.report(&mut gauges)
                }
                () = calls.has_released.notified() => self.release(calls),
                message = self.control.next() => message.map(|message| self.hear(message, calls)),
                // The gateway has all responses, but a detached function or a job that runs on
                // without its caller holds a permit and may make further calls: wait for all
                // permits, for the results of jobs to be collected, and for the ends of streams.
                () = idle(node, all_permits), if self.drained => {
                    Err(Error::new(ErrorKind::Draining, "the node is drained"))
                }
            };
            if let Err(error) = next {
                return error;
            }
        }
    }

    /// Tells the gateway the gauges that the program reports, if they have changed. Called with each
    /// load, so that a program may report as often as it likes.
    fn report(&mut self, gauges: &mut watch::Receiver<BTreeMap<String, f64>>) -> Result<(), Error> {
        if !gauges.has_changed().unwrap_or_default() {
            return Ok(());
        }
        let report = GaugeReport::new(&gauges.borrow_and_update());
        self.control.queue(&Control::Gauges(report))
    }

    fn hear(&mut self, message: Control, calls: &NodeCalls) {
        match message {
            Control::Drained => self.drained = true,
            Control::Retagged(number) => self.tags.are(number),
            Control::Abandoned { stream } => calls.abandon_stream(stream),
            message => debug!(said = message.name(), "unexpected control message"),
        }
    }

    /// Tells the gateway which abandoned calls have released their permits.
    fn release(&mut self, calls: &NodeCalls) -> Result<(), Error> {
        let released = std::mem::take(&mut *calls.released.lock());
        released
            .into_iter()
            .try_for_each(|stream| self.control.queue(&Control::Released { stream }))
    }
}
