//! A gateway's session with one peer, from handshake to disconnect.
//!
//! ```text
//! handshake -> authenticate (hello) -> client: welcome, relay calls
//!                                   -> node:   welcome, register, relay calls
//! any step -> refused or evicted -> closed
//! ```

mod changes;

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span};

use crate::error::{Error, ErrorKind};
use crate::gateway::admission::ConnectionSlot;
use crate::gateway::connections::Connections;
use crate::gateway::drain::{DrainNews, DrainStage};
use crate::gateway::limits::hit;
use crate::gateway::peer_log::LineKind;
use crate::gateway::policy::tokens::Admitted;
use crate::gateway::relay::caller_session::CallerSession;
use crate::gateway::relay::node_link::NodeLink;
use crate::gateway::relay::node_mux::open_mux;
use crate::gateway::relay::streams::{self, NewMux};
use crate::gateway::routing::{Registration, RoutedNode};
use crate::gateway::session::changes::NodeChanges;
use crate::gateway::state::GatewayState;
use crate::gateway::worker::BackgroundWorker;
use crate::gauge::Gauge;
use crate::transport::control_stream::ControlStream;
use crate::transport::log_limit::Brief;
use crate::transport::quic::endpoint::{Allowance, admit_client, admit_node};
use crate::transport::quic::reset;
use crate::transport::quic::stream::halves;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::quinn_ext::congestion;
use crate::wire::caller::Caller;
use crate::wire::control::{Control, Hello, Register, Role, SlowFunctions, Welcome};
use crate::wire::directory::{RESERVED, is_offered_by_nodes};
use crate::wire::limits::{MAX_LIST, MAX_NAME};

/// Timeout for a rejected peer to read the reason.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection of the thread that `connections` belong to, until it ends.
pub(super) async fn serve(
    handshake: quinn::Connecting,
    mut visitor: ConnectionSlot,
    connections: Arc<Connections>,
    state: Arc<GatewayState>,
) {
    let peer = handshake.remote_address();
    let _gauge = Gauge::up(&state.counters.connections);
    let Some(connection) = shake_hands(handshake, &visitor, &state).await else { return };
    let _listed = connections.add(&connection);
    let limit = state.limits.authentication_timeout;
    let authenticated = tokio::select! {
        authenticated = timeout(limit, authenticate(&connection, &state)) => authenticated,
        () = visitor.evicted() => {
            let text = "too many unauthenticated connections";
            return close(&connection, &Error::new(ErrorKind::Overloaded, text));
        }
    };
    match authenticated {
        Ok(Ok((mut control, hello, admission))) => {
            visitor.authenticate();
            control.trust();
            let session = serve_peer(&connection, control, &hello, &admission, &state);
            // Biased: a revocation takes effect even if the session is always ready.
            tokio::select! {
                biased;
                () = admission.revoked.cancelled() => {
                    let text = "the token or certificate has been revoked: ask for another one";
                    // Close at once instead of using `end`, which would wait for a peer that does
                    // not read.
                    close(&connection, &Error::new(ErrorKind::Unauthenticated, text));
                }
                () = session => {}
            }
        }
        Ok(Err((control, error))) => {
            state.refused.note(peer, &error);
            match control {
                // Boxed, as below: the future is large, and a connection does not need it for most
                // of its life.
                Some(control) => Box::pin(end(&connection, control, &error)).await,
                None => close(&connection, &error),
            }
        }
        Err(_) => {
            hit(&state.hits.authentication_timeouts);
            // `Unavailable`, so that the peer dials again: lost packets or a stopped program may have
            // delayed its credentials. `Unauthenticated` would end its attempts.
            let error = Error::new(ErrorKind::Unavailable, "no credentials in time");
            state.refused.note(peer, &error);
            close(&connection, &error);
        }
    }
}

/// Waits for the handshake with a new peer; `None` if it fails.
async fn shake_hands(
    handshake: quinn::Connecting,
    visitor: &ConnectionSlot,
    state: &GatewayState,
) -> Option<quinn::Connection> {
    let peer = handshake.remote_address();
    let unfinished = |why: &dyn fmt::Display| {
        if let Some(left_out) = state.log.of_stranger(peer.ip(), LineKind::Unfinished) {
            debug!(%peer, why = %Brief(why), left_out, "handshake failed");
        }
        None
    };
    let handshake = tokio::select! {
        handshake = timeout(state.limits.handshake_timeout, handshake) => handshake,
        () = visitor.evicted() => return unfinished(&"closed in favour of a newer connection"),
    };
    match handshake {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(cause)) => unfinished(&stranger_left(cause)),
        Err(_) => {
            hit(&state.hits.handshake_timeouts);
            unfinished(&"timed out")
        }
    }
}

/// Serves an authenticated peer until it leaves.
async fn serve_peer(
    connection: &quinn::Connection,
    mut control: ControlStream,
    hello: &Hello,
    admission: &Admitted,
    state: &Arc<GatewayState>,
) {
    let (peer, identity) = (connection.remote_address(), &*admission.identity);
    let result = match hello.role {
        Role::Client | Role::Admin => {
            let span = info_span!("client", identity, %peer);
            let caller = caller(connection, hello, admission);
            if let Some(left_out) = state.log.of_peer(&admission.identity, LineKind::Joined) {
                span.in_scope(|| debug!(left_out, "client connected"));
            }
            serve_client(connection, &mut control, (caller, &admission.revoked), state)
                .instrument(span)
                .await
        }
        Role::Node => {
            let span = info_span!("node", id = %hello.id, identity, %peer);
            let caller = caller(connection, hello, admission);
            serve_node(connection, &mut control, hello, (caller, &admission.revoked), state)
                .instrument(span)
                .await
        }
    };
    if let Err(error) = result {
        if error.kind() == ErrorKind::PermissionDenied {
            // An authenticated node whose registration was denied.
            state.refused.note(peer, &error);
        }
        if hello.role != Role::Node
            && let Some(left_out) = state.log.of_peer(&admission.identity, LineKind::Left)
        {
            debug!(identity, %peer, reason = %Brief(error.chain()), left_out, "client left");
        }
        Box::pin(end(connection, control, &error)).await;
    }
}

/// Describes a peer as functions see it.
fn caller(connection: &quinn::Connection, hello: &Hello, admission: &Admitted) -> Caller {
    let [a, b, c, d, ..] = hello.boot;
    let id = match hello.role {
        Role::Node => hello.id.clone(),
        role => format!("{}-{:08x}", role.name(), u32::from_be_bytes([a, b, c, d])),
    };
    let identity = admission.identity.to_string();
    Caller { role: hello.role, id, identity, address: connection.remote_address() }
}

/// Sends the reason and closes the connection, unless it is closed already.
async fn end(connection: &quinn::Connection, mut control: ControlStream, error: &Error) {
    if connection.close_reason().is_some() {
        return;
    }
    if error.kind() == ErrorKind::ConnectionLost {
        // The peer has stopped responding. Close at once, so that calls that wait for it fail now.
        return close(connection, error);
    }
    if control.queue(&Control::Refused(error.clone())).is_ok() {
        control.finish(REFUSAL_TIMEOUT).await;
    }
    close(connection, error);
}

fn close(connection: &quinn::Connection, error: &Error) {
    let code = reset::code(error.kind());
    congestion::close(connection, code, error.chain().to_string().as_bytes());
}

type RefusedPeer = (Option<ControlStream>, Error);

/// Waits for the peer's first message, and verifies its credentials.
async fn authenticate(
    connection: &quinn::Connection,
    state: &GatewayState,
) -> Result<(ControlStream, Hello, Admitted), RefusedPeer> {
    let stream = connection.accept_bi().await.map_err(|cause| (None, stranger_left(cause)))?;
    let mut control = ControlStream::with_stranger(connection, stream);
    match control.next().await {
        Ok(Control::Hello(hello)) => match state.tokens.admit(connection, &hello) {
            Ok(admission) => Ok((control, hello, admission)),
            Err(error) => Err((Some(control), error)),
        },
        Ok(_) => Err((
            Some(control),
            Error::new(ErrorKind::Protocol, "the first message is not a hello"),
        )),
        Err(error) => Err(match connection.close_reason() {
            Some(cause) => (None, stranger_left(cause)),
            None => (Some(control), error),
        }),
    }
}

/// Returns the error for an unauthenticated peer that has closed its connection. Its kind is always
/// `ConnectionLost`, because the reason that the peer sent cannot be trusted.
fn stranger_left(cause: quinn::ConnectionError) -> Error {
    let said = reset::connection_error(cause, ErrorKind::ConnectionLost);
    Error::new(ErrorKind::ConnectionLost, said.to_string())
}

fn welcome(control: &mut ControlStream, state: &GatewayState) -> Result<(), Error> {
    control.queue(&Control::Welcome(Welcome { max_message: state.limits.max_message as u64 }))
}

/// Relays a client's calls until it leaves.
async fn serve_client(
    connection: &quinn::Connection,
    control: &mut ControlStream,
    (caller, revoked): (Caller, &CancellationToken),
    state: &Arc<GatewayState>,
) -> Result<(), Error> {
    let _gauge = Gauge::up(&state.counters.clients);
    let Some(_open) = state.drain.client() else {
        // The gateway has drained, and closes all connections now.
        return pending().await;
    };
    let allowance = admit_client(connection, state.limits.calls_per_peer);
    welcome(control, state)?;
    let mut ends = EndTold::new(caller.clone(), state);
    let mut calls = Calls::new(connection, control.windows(), allowance, (caller, revoked), state);
    loop {
        tokio::select! {
            news = ends.news() => ends.tell(news, control)?,
            error = calls.relay() => return Err(error),
            message = control.next() => return Err(unexpected(&message?)),
        }
    }
}

/// What a client has been told about the gateway's shutdown.
struct EndTold<'a> {
    client: Caller,
    state: &'a GatewayState,
    news: watch::Receiver<DrainNews>,
    stage: DrainStage,
}

impl<'a> EndTold<'a> {
    fn new(client: Caller, state: &'a GatewayState) -> Self {
        let mut news = state.drain.news();
        // A client that connects during a drain has not been told yet.
        news.mark_changed();
        Self { client, state, news, stage: DrainStage::Serving }
    }

    /// Waits for the next news. Cancel safe.
    async fn news(&mut self) -> DrainNews {
        loop {
            // The sender is in the state, so it outlives this.
            if self.news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let news = self.news.borrow_and_update().clone();
            if news.stage != DrainStage::Serving {
                return news;
            }
        }
    }

    fn tell(&mut self, news: DrainNews, control: &mut ControlStream) -> Result<(), Error> {
        let Self { client, state, stage, .. } = self;
        if news.stage == DrainStage::Draining {
            let may_call = |name: &&String| state.access.may_call(client, name);
            let names = news.slow.iter().filter(may_call).take(MAX_LIST).cloned().collect();
            // The list comes before the `Draining` message that makes it effective.
            control.queue(&Control::Slow(SlowFunctions { names }))?;
        }
        if news.stage > *stage {
            *stage = news.stage;
            control.queue(match news.stage {
                DrainStage::Leaving => &Control::Leave,
                _ => &Control::Draining,
            })?;
        }
        Ok(())
    }
}

/// Registers a node, keeps it in the routing table until it leaves, and relays the calls that its
/// functions make.
async fn serve_node(
    connection: &quinn::Connection,
    control: &mut ControlStream,
    hello: &Hello,
    (caller, revoked): (Caller, &CancellationToken),
    state: &Arc<GatewayState>,
) -> Result<(), Error> {
    let allowance = admit_node(connection, state.limits.calls_per_peer);
    let (abandoned, mut abandoning) = mpsc::unbounded_channel();
    let windows = control.windows().clone();
    let logs = (state.log.clone(), state.dispatcher.failed.clone());
    let link = NodeLink::new(connection.clone(), windows.clone(), abandoned, logs);
    let registration = register(link, control, hello, &caller, state).await?;
    let node = registration.registered.node();
    control.queue(&Control::Registered)?;
    // The mux is set after `Registered` is queued. Until then, calls that are routed here use
    // separate streams.
    node.handle().set_mux(open_mux(connection.clone(), windows, state.limits.max_message));
    if let Some(left_out) = state.log.of_peer(node.identity(), LineKind::Joined) {
        info!(left_out, "node registered");
    }
    let mut calls = Calls::new(connection, control.windows(), allowance, (caller, revoked), state);
    let mut changes = NodeChanges::new(&registration.registered, state);
    let left = loop {
        tokio::select! {
            error = calls.relay() => break error,
            () = node.drained() => {
                control.queue(&Control::Drained)?;
                node.acknowledge_drained();
            }
            // `node` holds the sender, so this never yields `None`.
            Some(stream) = abandoning.recv() => control.queue(&Control::Abandoned { stream })?,
            number = changes.made() => control.queue(&Control::Retagged(number))?,
            message = control.next() => {
                let heard = message.and_then(|message| hear(message, node, &mut changes));
                if let Err(error) = heard {
                    break error;
                }
            }
        }
    };
    if let Some(left_out) = state.log.of_peer(node.identity(), LineKind::Left) {
        info!(reason = %Brief(left.chain()), left_out, "node left");
    }
    Err(left)
}

/// Waits for a node's registration message, and registers the node.
///
/// # Errors
/// The message did not arrive in time, or the node may not offer one of its functions.
async fn register(
    link: NodeLink,
    control: &mut ControlStream,
    hello: &Hello,
    caller: &Caller,
    state: &Arc<GatewayState>,
) -> Result<OpenRegistration, Error> {
    welcome(control, state)?;
    let register = match control.next_within(state.limits.authentication_timeout).await {
        Ok(Control::Register(register)) => register,
        Ok(other) => return Err(unexpected(&other)),
        Err(error) => {
            if error.kind() == ErrorKind::Unavailable {
                hit(&state.hits.authentication_timeouts);
            }
            return Err(error);
        }
    };
    let misses = control.misses().clone();
    let registering = {
        let (state, caller, hello) = (state.clone(), caller.clone(), hello.clone());
        move || register_node(link, misses, &caller, &hello, register, &state)
    };
    let registered = tokio::select! {
        registered = state.table_work.run(registering) => registered?,
        // Keep polling the control stream, so that heartbeats continue while many nodes register.
        message = control.next() => return Err(unexpected(&message?)),
    };
    Ok(OpenRegistration { registered, worker: state.table_work.clone() })
}

/// A registered node. Dropping it removes the node and frees its permits.
struct OpenRegistration {
    registered: Arc<Registration<NodeLink>>,
    worker: BackgroundWorker,
}

impl Drop for OpenRegistration {
    fn drop(&mut self) {
        let node = self.registered.node();
        // Close the node before freeing the permits of abandoned calls: otherwise a waiting call
        // would acquire one and be sent to a node that has left.
        node.close();
        node.handle().close();
        let registered = self.registered.clone();
        self.worker.later(move || drop(registered));
    }
}

/// Handles a message of a registered node.
///
/// # Errors
/// `Protocol` if a node may not send it.
fn hear(
    message: Control,
    node: &RoutedNode<NodeLink>,
    changes: &mut NodeChanges,
) -> Result<(), Error> {
    match message {
        Control::Draining => changes.drain(),
        Control::Retag(retag) => changes.retag(retag),
        Control::Released { stream } => node.handle().release(stream),
        Control::Load(load) => node.report(load),
        Control::Gauges(gauges) => node.set_gauges(gauges),
        message => return Err(unexpected(&message)),
    }
    Ok(())
}

/// The calls that one peer makes. Dropped with the session, which cancels the calls in flight at
/// their nodes.
struct Calls {
    peer: Arc<CallerSession>,
    allowance: Allowance,
    running: JoinSet<Option<NewMux>>,
}

impl Calls {
    fn new(
        connection: &quinn::Connection,
        windows: &Arc<StreamWindows>,
        allowance: Allowance,
        caller: (Caller, &CancellationToken),
        state: &Arc<GatewayState>,
    ) -> Self {
        let peer = Arc::new(CallerSession::new(connection, windows, caller, state));
        Self { peer, allowance, running: JoinSet::new() }
    }

    /// Relays the peer's calls until it leaves; returns why it left. Cancel safe.
    async fn relay(&mut self) -> Error {
        let Self { peer, allowance, running } = self;
        let next = async || {
            peer.may_begin().await;
            peer.connection.accept_bi().await
        };
        loop {
            tokio::select! {
                stream = next() => match stream {
                    Ok(stream) => {
                        let call = streams::serve(halves(stream, &peer.windows), peer.clone());
                        running.spawn(call.in_current_span());
                        allowance.note(running.len());
                    }
                    Err(cause) => {
                        return reset::connection_error(cause, ErrorKind::ConnectionLost);
                    }
                },
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    if let Ok(Some(mux)) = ended {
                        let serving = mux.serve(peer.clone()).map(|()| None);
                        running.spawn(serving.in_current_span());
                    }
                }
            }
        }
    }
}

/// Validates a registration, and adds the node to the routing table.
fn register_node(
    link: NodeLink,
    misses: Arc<AtomicU32>,
    caller: &Caller,
    hello: &Hello,
    mut register: Register,
    state: &GatewayState,
) -> Result<Arc<Registration<NodeLink>>, Error> {
    let offers = register.functions.iter().map(|offer| offer.name.as_str());
    state.access.check_offers(caller, offers)?;
    if hello.id.is_empty() {
        return Err(Error::new(ErrorKind::Protocol, "the node has no id"));
    }
    let mut offers = register.functions.iter();
    if let Some(offer) = offers.find(|offer| !is_function_name(&offer.name)) {
        let text = format!(
            "`{}` is not a valid function name: use 1 to {MAX_NAME} of `A-Z a-z 0-9 _ . : / -`, \
             not starting with `{RESERVED}`",
            offer.name.escape_debug()
        );
        return Err(Error::new(ErrorKind::Protocol, text));
    }
    state.schemas.take_in(&mut register.functions).map_err(|(name, why)| {
        Error::new(ErrorKind::Protocol, format!("`{name}` cannot be offered: {why}"))
    })?;
    let router = &state.dispatcher.router;
    let meters = router.meters();
    let node = RoutedNode::new(link, misses, &caller.identity, hello, register, meters);
    let (registration, replaced) = Registration::new(router, node)?;
    if let Some(old) = replaced {
        let text = format!("another session of `{}` has taken over", hello.id);
        close(old.handle().connection(), &Error::new(ErrorKind::Cancelled, text));
    }
    Ok(Arc::new(registration))
}

/// Returns whether a node may offer a function with this name, which appears in logs and errors.
fn is_function_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    let free = !name.starts_with(RESERVED) || is_offered_by_nodes(name);
    !name.is_empty() && name.bytes().all(fine) && free
}

fn unexpected(message: &Control) -> Error {
    Error::new(ErrorKind::Protocol, format!("unexpected message: {}", message.name()))
}

#[cfg(test)]
mod tests;
