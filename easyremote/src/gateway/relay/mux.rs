//! A caller's mux: small calls, of which many share one stream on each hop.
//!
//! A call on a mux has no task of its own here, as long as a node has room for it and a mux that
//! takes it. Where that is not so, a task finds another way: it waits for a node, gives the call a
//! stream of its own there, or sends a long answer on one.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{AbortHandle, Abortable};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::relay::caller_session::CallerSession;
use crate::gateway::relay::node_mux::{NodeMux, Relayed};
use crate::gateway::relay::overflow::{self, forward};
use crate::gateway::relay::streams::{ATTEMPTS, NewMux, find, open, protocol, refused};
use crate::gateway::routes::Place;
use crate::gateway::{GatewayState, directory};
use crate::gauge::MemoryCharge;
use crate::transport::mux::in_flight::{Declined, read_messages};
use crate::transport::mux::writer::MuxWriter;
use crate::transport::quic::reset;
use crate::transport::quic::stream::FrameError;
use crate::transport::quinn_ext::congestion;
use crate::wire::bytes::Malformed;
use crate::wire::error::put_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_CLIENT_STREAMS, MAX_MUX_BODY};
use crate::wire::mux::{MuxId, take_frame};

/// Longest frames of an answer on a mux, in bytes.
pub(super) const MAX_ANSWER: usize = FRAME_HEADER + MAX_MUX_BODY;

/// The mux of one caller.
#[derive(Debug)]
pub(crate) struct CallerMux {
    out: MuxWriter,
    /// The calls that have no answer yet.
    calls: Mutex<HashMap<MuxId, Stage>>,
    pub(super) peer: Arc<CallerSession>,
}

/// Where a call is.
#[derive(Debug)]
enum Stage {
    /// On a node's mux, with this id there.
    AtNode(Arc<NodeMux>, MuxId),
    /// A task looks after it.
    Task(AbortHandle),
}

/// A small call on its way.
#[derive(Debug)]
pub(crate) struct ForwardedCall {
    header: CallHeader,
    /// The arguments, as a frame.
    body: Bytes,
    received: Instant,
    /// What was left of its time then.
    timeout: Option<Duration>,
    /// Nodes that were lost before they had it.
    pub(super) attempts: usize,
    _kept: MemoryCharge,
    _in_flight: InFlight,
}

/// Counts a call for as long as it lives.
#[derive(Debug)]
struct InFlight {
    shared: Arc<GatewayState>,
    _busy: TaskTrackerToken,
}

impl InFlight {
    fn new(shared: &Arc<GatewayState>) -> Self {
        shared.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { shared: shared.clone(), _busy: shared.busy.token() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves the mux that `peer` has opened.
pub(crate) async fn serve(NewMux(mut hop, first): NewMux, peer: Arc<CallerSession>) {
    hop.send.lift();
    hop.recv.lift();
    let connection = peer.connection.clone();
    if peer.has_mux.swap(true, Ordering::Relaxed) {
        return break_off(&connection, Malformed::new("a second mux on one connection"));
    }
    let mux = CallerMux { out: MuxWriter::default(), calls: Mutex::default(), peer };
    let mux = Open(Arc::new(mux));
    let receive = |id, frames| CallerMux::receive(&mux.0, id, frames);
    let ready = || {
        let mux = mux.0.clone();
        async move {
            mux.out.roomy().await;
            mux.peer.cancels.wait(mux.shared()).await;
        }
    };
    let error = tokio::select! {
        broken = mux.0.out.write_to(&mut hop.send, &connection) => FrameError::Broken(broken),
        error = read_messages(&mut hop.recv, &first, ready, receive) => error,
    };
    if let FrameError::Malformed(cause) = error {
        break_off(&connection, cause);
    }
}

fn too_many(n: usize) -> Error {
    let text =
        format!("{n} calls of this connection are under way, and the gateway allows no more");
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}

pub(super) fn break_off(connection: &quinn::Connection, cause: Malformed) {
    let code = reset::code(ErrorKind::Protocol, Executed::Maybe);
    congestion::close(connection, code, cause.text.as_bytes());
}

/// A mux whose caller is there; its calls are given up when it leaves.
struct Open(Arc<CallerMux>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.out.close();
        let calls = std::mem::take(&mut *self.0.calls());
        calls.into_values().for_each(Stage::give_up);
    }
}

impl Stage {
    fn give_up(self) {
        match self {
            Self::AtNode(mux, id) => drop(mux.withdraw(id)),
            Self::Task(task) => task.abort(),
        }
    }
}

impl CallerMux {
    fn calls(&self) -> MutexGuard<'_, HashMap<MuxId, Stage>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shared(&self) -> &Arc<GatewayState> {
        &self.peer.shared
    }

    /// Takes a message of the caller.
    ///
    /// # Errors
    /// The caller breaks the rules of a mux.
    fn receive(self: &Arc<Self>, id: MuxId, frames: Bytes) -> Result<(), Malformed> {
        if frames.is_empty() {
            // What has its answer already is not there any more.
            let stage = self.calls().remove(&id);
            if let Some(stage) = stage {
                stage.give_up();
                self.peer.cancels.note();
            }
            return Ok(());
        }
        let (n, twice) = {
            let calls = self.calls();
            (calls.len(), calls.contains_key(&id))
        };
        if n >= MAX_CLIENT_STREAMS as usize || twice {
            let text = format!(
                "more than {MAX_CLIENT_STREAMS} calls on a mux, or two with one id at a time"
            );
            return Err(Malformed::new(text));
        }
        self.shared().counters.calls.fetch_add(1, Ordering::Relaxed);
        let read = match n < self.shared().limits.calls_per_peer as usize {
            true => self.read(frames),
            false => Err(too_many(n)),
        };
        match read {
            Ok(call) => self.begin(id, call),
            // It concerns nobody but this call.
            Err(error) => self.send_error(id, &error),
        }
        Ok(())
    }

    fn read(&self, mut frames: Bytes) -> Result<Box<ForwardedCall>, Error> {
        let header = take_frame(&mut frames, 0).map_err(Malformed::into_error)?;
        if header.kind != FrameKind::Header {
            return Err(protocol(format!("{:?} frame instead of a header", header.kind)));
        }
        let mut header = CallHeader::read(&header.body)
            .map_err(|cause| protocol(format!("call header: {cause}")))?;
        let body = frames.clone();
        let limit = MAX_MUX_BODY.min(self.shared().max_message);
        let arguments = take_frame(&mut frames, limit).map_err(Malformed::into_error)?;
        let fits = header.kind == Kind::Unary && arguments.kind == FrameKind::Body;
        if !fits || !frames.is_empty() || header.traced {
            return Err(protocol("this call needs a stream of its own"));
        }
        // Whatever the caller says of itself is not its to say.
        header.caller = Some(self.peer.caller.clone());
        header.held = Duration::ZERO;
        Ok(Box::new(ForwardedCall {
            received: Instant::now(),
            timeout: header.timeout,
            header,
            attempts: 0,
            _kept: self.peer.keep(body.len())?,
            body,
            _in_flight: InFlight::new(self.shared()),
        }))
    }

    fn begin(self: &Arc<Self>, id: MuxId, call: Box<ForwardedCall>) {
        if let Some(answer) = directory::answer(&call.header, self.shared()) {
            let kept = match self.peer.keep(answer.len()) {
                Ok(kept) => kept,
                Err(error) => return self.send_error(id, &error),
            };
            let mux = self.clone();
            return self.spawn(id, async move {
                let _kept = kept;
                mux.answer_any(id, &answer).await;
            });
        }
        // As a rule there is a place at once.
        let shared = self.shared().clone();
        let acquired = pin!(shared.routes.acquire(&call.header, self.peer.number)).now_or_never();
        match acquired {
            Some(Ok(place)) => match self.submit(id, call, place) {
                Ok(()) => {}
                Err(Some((call, place))) => {
                    self.spawn(id, later(self.clone(), id, call, Some(place)))
                }
                Err(None) => {}
            },
            Some(Err(error)) => {
                refused(&call.header, &error, &shared);
                self.send_error(id, &error);
            }
            None => self.spawn(id, later(self.clone(), id, call, None)),
        }
    }

    /// Gives a call to a node by its mux.
    ///
    /// # Errors
    /// The call and its place, if that mux does not take it; nothing if the call has ended.
    fn submit(
        self: &Arc<Self>,
        id: MuxId,
        mut call: Box<ForwardedCall>,
        place: Place,
    ) -> Result<(), Option<(Box<ForwardedCall>, Place)>> {
        let Some(mux) = place.node().mux() else { return Err(Some((call, place))) };
        call.header.timeout = call.timeout.map(|left| left.saturating_sub(call.received.elapsed()));
        let relayed = Relayed { mux: self.clone(), id, call, place };
        let sent = mux.submit(relayed, None, |relayed, out| {
            relayed.call.header.put(out)?;
            out.extend_from_slice(&relayed.call.body);
            Ok::<(), usize>(())
        });
        match sent {
            Ok(at_node) => {
                self.calls().insert(id, Stage::AtNode(mux, at_node));
                Ok(())
            }
            Err(Declined::Busy(relayed)) => Err(Some((relayed.call, relayed.place))),
            Err(Declined::Unwritten(..)) => {
                self.finish(id);
                self.send_error(id, &protocol("the call header is too long"));
                Err(None)
            }
        }
    }

    /// Lets a task look after a call, until it is given up.
    pub(super) fn spawn(&self, id: MuxId, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.watched(id, task));
    }

    /// `task`, which ends when the call is given up that it looks after from now on.
    pub(super) fn watched<T: Future<Output = ()>>(
        &self,
        id: MuxId,
        task: T,
    ) -> impl Future<Output = ()> + use<T> {
        let (abort, registration) = AbortHandle::new_pair();
        self.calls().insert(id, Stage::Task(abort));
        Abortable::new(task, registration).map(drop)
    }

    /// Whether the call is still waited for; it is over from now on.
    pub(super) fn finish(&self, id: MuxId) -> bool {
        self.calls().remove(&id).is_some()
    }

    /// Ends a call with `frames`, which are short.
    pub(super) fn answer(&self, id: MuxId, frames: &[u8]) {
        if self.finish(id) {
            self.out.push_frames(id, frames);
            self.peer.cancels.make_up();
        }
    }

    /// Ends a call with `frames`, of whatever length.
    async fn answer_any(&self, id: MuxId, frames: &[u8]) {
        if frames.len() <= MAX_ANSWER {
            return self.answer(id, frames);
        }
        if let Some(mut send) = overflow::open_overflow(self, id, frames).await {
            send.finish();
        }
    }

    pub(super) fn fail(&self, id: MuxId, error: &Error) {
        if self.finish(id) {
            self.send_error(id, error);
        }
    }

    pub(super) fn send_error(&self, id: MuxId, error: &Error) {
        let mut frames = Vec::new();
        put_error(&mut frames, error);
        self.out.push_frames(id, &frames);
    }
}

/// Brings a call to a node for which there was no place at once, or whose node has no mux for it.
pub(super) async fn later(
    mux: Arc<CallerMux>,
    id: MuxId,
    mut call: Box<ForwardedCall>,
    mut place: Option<Place>,
) {
    let shared = mux.shared().clone();
    loop {
        let found = match place.take() {
            Some(place) => place,
            None => {
                call.header.timeout = call.timeout;
                let found = find(&call.header, call.received, &shared, mux.peer.number).await;
                let place = match found {
                    Ok(place) => place,
                    Err(error) => {
                        refused(&call.header, &error, &shared);
                        return mux.fail(id, &error);
                    }
                };
                match mux.submit(id, call, place) {
                    Err(Some((back, place))) => {
                        call = back;
                        place
                    }
                    Ok(()) | Err(None) => return,
                }
            }
        };
        call.header.timeout = call.timeout.map(|left| left.saturating_sub(call.received.elapsed()));
        match open(&found, &call.header, &call.body, shared.max_message).await {
            Ok((mut node, _)) => {
                node.send.finish();
                let relayed = Relayed { mux, id, call, place: found };
                return forward(node.recv, &[], relayed).await;
            }
            Err(error) => {
                call.attempts += 1;
                if error.kind() != ErrorKind::NodeLost || call.attempts >= ATTEMPTS {
                    return mux.fail(id, &error.with_node(found.node().id()));
                }
                found.node().give_up();
            }
        }
    }
}
