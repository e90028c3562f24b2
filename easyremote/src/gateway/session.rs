//! One connection at the gateway, from handshake to end.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, debug, info, info_span};

use crate::error::{Error, ErrorKind};
use crate::gateway::admission::ConnectionSlot;
use crate::gateway::limits::hit;
use crate::gateway::policy::tokens::Admitted;
use crate::gateway::relay::caller_session::CallerSession;
use crate::gateway::relay::node_link::NodeLink;
use crate::gateway::relay::node_mux::open_mux;
use crate::gateway::relay::streams::{self, NewMux};
use crate::gateway::routing::{Registration, RoutedNode};
use crate::gateway::state::GatewayState;
use crate::gauge::Gauge;
use crate::transport::control_stream::ControlStream;
use crate::transport::quic::endpoint::{Allowance, admit_client, admit_node};
use crate::transport::quic::reset;
use crate::transport::quic::stream::halves;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::quinn_ext::congestion;
use crate::wire::caller::Caller;
use crate::wire::control::{Control, Hello, Role, Welcome};
use crate::wire::directory::RESERVED;
use crate::wire::limits::MAX_NAME;

/// Longest wait for a refused peer to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection until it ends.
pub(super) async fn serve(
    handshake: quinn::Connecting,
    mut visitor: ConnectionSlot,
    state: Arc<GatewayState>,
) {
    let peer = handshake.remote_address();
    let _gauge = Gauge::up(&state.counters.connections);
    let handshake = tokio::select! {
        handshake = timeout(state.limits.handshake_timeout, handshake) => handshake,
        () = visitor.evicted() => return debug!(%peer, "closed in favour of a newer connection"),
    };
    let connection = match handshake {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%peer, %error, "handshake failed"),
        Err(_) => {
            hit(&state.hits.handshake_timeouts);
            return debug!(%peer, "handshake took too long");
        }
    };
    let _listed = state.connections.add(&connection);
    let limit = state.limits.authentication_timeout;
    let authenticated = tokio::select! {
        authenticated = timeout(limit, authenticate(&connection, &state)) => authenticated,
        () = visitor.evicted() => {
            let text = "too many connections here have not proven who they are";
            return close(&connection, &Error::new(ErrorKind::Overloaded, text));
        }
    };
    match authenticated {
        Ok(Ok((mut control, hello, admission))) => {
            visitor.is_authenticated();
            control.trust();
            let session = serve_peer(&connection, control, &hello, &admission, &state);
            tokio::select! {
                biased;
                () = admission.revoked.cancelled() => {
                    let text = "the token or certificate has been revoked: ask for another one";
                    // Not `end`: a peer that does not read is not waited for.
                    close(&connection, &Error::new(ErrorKind::Unauthenticated, text));
                }
                () = session => {}
            }
        }
        Ok(Err((control, error))) => {
            state.refused.note(peer, &error);
            match control {
                // Boxed, as below: it is large, and no connection needs it for most of its life.
                Some(control) => Box::pin(end(&connection, control, &error)).await,
                None => close(&connection, &error),
            }
        }
        Err(_) => {
            hit(&state.hits.authentication_timeouts);
            let text = "no credentials in time";
            let error = Error::new(ErrorKind::Unauthenticated, text);
            state.refused.note(peer, &error);
            close(&connection, &error);
        }
    }
}

/// Serves a peer that has proven who it is, until it leaves.
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
            serve_client(connection, &mut control, caller, state).instrument(span).await
        }
        Role::Node => {
            let span = info_span!("node", id = %hello.id, identity, %peer);
            let caller = caller(connection, hello, admission);
            serve_node(connection, &mut control, hello, caller, state).instrument(span).await
        }
    };
    if let Err(error) = result {
        if error.kind() == ErrorKind::PermissionDenied {
            // It may be a node, but not with what it registers.
            state.refused.note(peer, &error);
        }
        Box::pin(end(connection, control, &error)).await;
    }
}

/// A peer, as functions are to see it.
fn caller(connection: &quinn::Connection, hello: &Hello, admission: &Admitted) -> Caller {
    let [a, b, c, d, ..] = hello.boot;
    let id = match hello.role {
        Role::Node => hello.id.clone(),
        role => format!("{}-{:08x}", role.name(), u32::from_be_bytes([a, b, c, d])),
    };
    let identity = admission.identity.to_string();
    Caller { role: hello.role, id, identity, address: connection.remote_address() }
}

/// Tells the peer why and closes, unless the peer is gone already.
async fn end(connection: &quinn::Connection, mut control: ControlStream, error: &Error) {
    if connection.close_reason().is_some() {
        return debug!(%error, "connection ended");
    }
    if error.kind() == ErrorKind::ConnectionLost {
        // It has fallen silent. What waits for it is to know at once.
        return close(connection, error);
    }
    if control.queue(&Control::Refused(error.clone())).is_ok() {
        control.finish(REFUSAL_TIMEOUT).await;
    }
    close(connection, error);
}

fn close(connection: &quinn::Connection, error: &Error) {
    let code = reset::code(error.kind());
    congestion::close(connection, code, error.to_string().as_bytes());
}

type RefusedPeer = (Option<ControlStream>, Error);

/// Waits for the peer's first message and checks its proof.
async fn authenticate(
    connection: &quinn::Connection,
    state: &GatewayState,
) -> Result<(ControlStream, Hello, Admitted), RefusedPeer> {
    let stream = connection
        .accept_bi()
        .await
        .map_err(|cause| (None, reset::connection_error(cause, ErrorKind::ConnectionLost)))?;
    let mut control = ControlStream::with_stranger(connection, stream);
    match control.next().await {
        Ok(Control::Hello(hello)) => match state.tokens.admit(connection, &hello) {
            Ok(admission) => Ok((control, hello, admission)),
            Err(error) => Err((Some(control), error)),
        },
        Ok(_) => Err((Some(control), Error::new(ErrorKind::Protocol, "no hello"))),
        Err(error) => Err((Some(control), error)),
    }
}

fn welcome(control: &mut ControlStream, state: &GatewayState) -> Result<(), Error> {
    control.queue(&Control::Welcome(Welcome { max_message: state.max_message as u64 }))
}

/// Relays a client's calls until it leaves.
async fn serve_client(
    connection: &quinn::Connection,
    control: &mut ControlStream,
    caller: Caller,
    state: &Arc<GatewayState>,
) -> Result<(), Error> {
    let _gauge = Gauge::up(&state.counters.clients);
    let _busy = state.busy.token();
    let allowance = admit_client(connection, state.limits.calls_per_peer);
    welcome(control, state)?;
    debug!("client connected");
    let mut calls = Calls::new(connection, control.windows(), allowance, caller, state);
    let mut told = false;
    loop {
        tokio::select! {
            () = state.draining.cancelled(), if !told => {
                told = true;
                control.queue(&Control::Draining)?;
            }
            error = calls.relay() => return Err(error),
            message = control.next() => return Err(unexpected(&message?)),
        }
    }
}

/// Registers a node, keeps it in the routes until it leaves, and relays the calls that its
/// functions make.
async fn serve_node(
    connection: &quinn::Connection,
    control: &mut ControlStream,
    hello: &Hello,
    caller: Caller,
    state: &Arc<GatewayState>,
) -> Result<(), Error> {
    let allowance = admit_node(connection, state.limits.calls_per_peer);
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
    let offers = register.functions.iter().map(|offer| offer.name.as_str());
    state.access.check_offers(&caller, offers)?;
    let (abandoned, mut abandoning) = mpsc::unbounded_channel();
    let windows = control.windows().clone();
    let link = NodeLink::new(connection.clone(), windows.clone(), abandoned, state.log.clone());
    let misses = control.misses().clone();
    let node = RoutedNode::new(link, misses, &caller.identity, hello, register);
    let registration = OpenRegistration(register_node(node, state)?);
    let node = registration.0.node();
    control.queue(&Control::Registered)?;
    node.handle().set_mux(open_mux(connection.clone(), windows, state.max_message));
    info!("node registered");
    let mut calls = Calls::new(connection, control.windows(), allowance, caller, state);
    let left = loop {
        tokio::select! {
            error = calls.relay() => break error,
            () = node.drained() => {
                control.queue(&Control::Drained)?;
                node.acknowledge_drained();
            }
            // The sender is in `node`.
            Some(stream) = abandoning.recv() => control.queue(&Control::Abandoned { stream })?,
            message = control.next() => {
                let heard = message.and_then(|message| hear(message, &registration.0, control));
                if let Err(error) = heard {
                    break error;
                }
            }
        }
    };
    info!(reason = %left, "node left");
    Err(left)
}

/// A registered node. Its permits end with its session.
struct OpenRegistration(Registration<NodeLink>);

impl Drop for OpenRegistration {
    fn drop(&mut self) {
        let node = self.0.node();
        // Before the permits of abandoned calls are freed: otherwise a waiting call would get one
        // of them, and be sent to a node that has left.
        node.close();
        node.handle().close();
    }
}

/// Takes a message of a registered node.
///
/// # Errors
/// `Protocol` if it is none that a node sends.
fn hear(
    message: Control,
    registration: &Registration<NodeLink>,
    control: &mut ControlStream,
) -> Result<(), Error> {
    match message {
        Control::Draining => {
            info!("node drains");
            registration.drain();
        }
        Control::Retag(retag) => {
            info!(tags = ?retag.tags, "node has other tags");
            registration.retag(retag.tags);
            control.queue(&Control::Retagged(retag.number))?;
        }
        Control::Released { stream } => registration.node().handle().release(stream),
        Control::Load(load) => registration.node().report(load),
        message => return Err(unexpected(&message)),
    }
    Ok(())
}

/// The calls that one peer makes. Ended with the session: what is under way is then cancelled on
/// its node.
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
        caller: Caller,
        state: &Arc<GatewayState>,
    ) -> Self {
        let peer = Arc::new(CallerSession::new(connection, windows, caller, state));
        Self { peer, allowance, running: JoinSet::new() }
    }

    /// Relays the peer's calls until it leaves; says why. Cancel safe.
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

fn register_node(
    node: RoutedNode<NodeLink>,
    state: &Arc<GatewayState>,
) -> Result<Registration<NodeLink>, Error> {
    let id = node.id().to_owned();
    if id.is_empty() {
        return Err(Error::new(ErrorKind::Protocol, "the node has no id"));
    }
    let mut offers = node.offers().iter().map(|offered| &offered.offer);
    if let Some(offer) = offers.find(|offer| !is_function_name(&offer.name)) {
        let text = format!(
            "`{}` is no name for a function: 1 to {MAX_NAME} of `A-Z a-z 0-9 _ . : / -`, not \
             beginning with `{RESERVED}`",
            offer.name.escape_debug()
        );
        return Err(Error::new(ErrorKind::Protocol, text));
    }
    let (registration, replaced) = Registration::new(&state.dispatcher.router, node)?;
    if let Some(old) = replaced {
        let text = format!("another session of `{id}` has taken over");
        close(old.handle().connection(), &Error::new(ErrorKind::Cancelled, text));
    }
    Ok(registration)
}

/// Whether a node may offer a function of this name: it appears in logs and errors.
fn is_function_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    !name.is_empty() && name.bytes().all(fine) && !name.starts_with(RESERVED)
}

fn unexpected(message: &Control) -> Error {
    Error::new(ErrorKind::Protocol, format!("unexpected message: {}", message.name()))
}

#[cfg(test)]
mod tests;
