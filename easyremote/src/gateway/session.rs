//! One connection at the gateway, from handshake to end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::node_session::NodeSession;
use crate::gateway::routes::Registration;
use crate::gateway::{Shared, relay};
use crate::gauge::Gauge;
use crate::transport::control_stream::ControlStream;
use crate::transport::credit::Credits;
use crate::transport::endpoint::{Allowance, admit_client, admit_node};
use crate::transport::reset;
use crate::transport::stream::halves;
use crate::wire::control::{Control, Hello, Role, Welcome};
use crate::wire::directory::RESERVED;
use crate::wire::header::Caller;
use crate::wire::limits::{AUTHENTICATION_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_NAME};

/// Longest wait for a refused peer to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection until it ends.
pub(super) async fn serve(incoming: quinn::Incoming, shared: Arc<Shared>) {
    let peer = incoming.remote_address();
    let _gauge = Gauge::up(&shared.counters.connections);
    let connection = match timeout(HANDSHAKE_TIMEOUT, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%peer, %error, "handshake failed"),
        Err(_) => return debug!(%peer, "handshake took too long"),
    };
    match timeout(AUTHENTICATION_TIMEOUT, authenticate(&connection, &shared)).await {
        Ok(Ok((mut control, hello))) => {
            let result = match hello.role {
                Role::Client => {
                    let span = info_span!("client", %peer);
                    serve_client(&connection, &mut control, &hello, &shared).instrument(span).await
                }
                Role::Node => {
                    let span = info_span!("node", id = %hello.id, %peer);
                    serve_node(&connection, &mut control, &hello, &shared).instrument(span).await
                }
            };
            if let Err(error) = result {
                end(&connection, control, &error).await;
            }
        }
        Ok(Err((control, error))) => {
            warn!(%peer, %error, "refused");
            match control {
                Some(control) => end(&connection, control, &error).await,
                None => close(&connection, &error),
            }
        }
        Err(_) => {
            debug!(%peer, "authentication took too long");
            let text = "no credentials in time";
            close(&connection, &Error::new(ErrorKind::Unauthenticated, text));
        }
    }
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
    connection.close(reset::code(error.kind(), Executed::Maybe), error.to_string().as_bytes());
}

type Refused = (Option<ControlStream>, Error);

/// Waits for the peer's first message and checks its proof.
async fn authenticate(
    connection: &quinn::Connection,
    shared: &Shared,
) -> Result<(ControlStream, Hello), Refused> {
    let stream = connection
        .accept_bi()
        .await
        .map_err(|cause| (None, reset::connection_error(cause, ErrorKind::ConnectionLost)))?;
    let mut control = ControlStream::new(connection, stream);
    match control.next().await {
        Ok(Control::Hello(hello)) => {
            let token = shared.identity.token(hello.role);
            match token.verify(connection, hello.role, &hello.proof) {
                Ok(true) => Ok((control, hello)),
                Ok(false) => {
                    let text = format!(
                        "the token is not one for a {} at this gateway: use the ticket that it \
                         hands out",
                        hello.role.name()
                    );
                    Err((Some(control), Error::new(ErrorKind::Unauthenticated, text)))
                }
                Err(error) => Err((Some(control), error)),
            }
        }
        Ok(_) => Err((Some(control), Error::new(ErrorKind::Protocol, "no hello"))),
        Err(error) => Err((Some(control), error)),
    }
}

fn welcome(control: &mut ControlStream, shared: &Shared) -> Result<(), Error> {
    control.queue(&Control::Welcome(Welcome { max_message: shared.max_message as u64 }))
}

/// Relays a client's calls until it leaves.
async fn serve_client(
    connection: &quinn::Connection,
    control: &mut ControlStream,
    hello: &Hello,
    shared: &Arc<Shared>,
) -> Result<(), Error> {
    let _gauge = Gauge::up(&shared.counters.clients);
    let _busy = shared.busy.token();
    let allowance = admit_client(connection);
    welcome(control, shared)?;
    debug!("client connected");
    let [a, b, c, d, ..] = hello.boot;
    let id = format!("client-{:08x}", u32::from_be_bytes([a, b, c, d]));
    let caller = Caller { role: Role::Client, id, address: connection.remote_address() };
    let mut calls = Calls::new(connection, allowance, control, caller, shared);
    let mut told = false;
    loop {
        tokio::select! {
            () = shared.draining.cancelled(), if !told => {
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
    shared: &Arc<Shared>,
) -> Result<(), Error> {
    let allowance = admit_node(connection);
    welcome(control, shared)?;
    let register = match control.next_within(AUTHENTICATION_TIMEOUT).await? {
        Control::Register(register) => register,
        other => return Err(unexpected(&other)),
    };
    let session = NodeSession::new(connection.clone(), control, hello, register);
    let registration = register_node(session, shared)?;
    control.queue(&Control::Registered)?;
    info!("node registered");
    let (role, id) = (Role::Node, hello.id.clone());
    let caller = Caller { role, id, address: connection.remote_address() };
    let mut calls = Calls::new(connection, allowance, control, caller, shared);
    let left = loop {
        tokio::select! {
            error = calls.relay() => break error,
            () = registration.drained() => {
                control.queue(&Control::Drained)?;
                registration.has_been_told();
            }
            message = control.next() => match message {
                Ok(Control::Draining) => {
                    info!("node drains");
                    registration.drain();
                }
                Ok(message) => break unexpected(&message),
                Err(error) => break error,
            },
        }
    };
    info!(reason = %left, "node left");
    Err(left)
}

/// The calls that one peer makes. Ended with the session: what is under way is then cancelled on
/// its node.
struct Calls<'a> {
    connection: &'a quinn::Connection,
    allowance: Allowance,
    credits: Arc<Credits>,
    caller: Arc<Caller>,
    /// No other connection has it.
    number: u64,
    shared: &'a Arc<Shared>,
    running: JoinSet<()>,
}

impl<'a> Calls<'a> {
    fn new(
        connection: &'a quinn::Connection,
        allowance: Allowance,
        control: &ControlStream,
        caller: Caller,
        shared: &'a Arc<Shared>,
    ) -> Self {
        let number = shared.counters.sessions.fetch_add(1, Ordering::Relaxed);
        let (caller, credits) = (Arc::new(caller), control.credits().clone());
        Self { connection, allowance, credits, caller, number, shared, running: JoinSet::new() }
    }

    /// Relays the peer's calls until it leaves; says why. Cancel safe.
    async fn relay(&mut self) -> Error {
        loop {
            tokio::select! {
                stream = self.connection.accept_bi() => match stream {
                    Ok(stream) => {
                        self.shared.counters.calls.fetch_add(1, Ordering::Relaxed);
                        let (shared, caller) = (self.shared.clone(), self.caller.clone());
                        let stream = halves(stream, &self.credits);
                        let call = relay::serve(stream, shared, caller, self.number);
                        self.running.spawn(call.in_current_span());
                        self.allowance.note(self.running.len());
                    }
                    Err(cause) => {
                        return reset::connection_error(cause, ErrorKind::ConnectionLost);
                    }
                },
                Some(_) = self.running.join_next(), if !self.running.is_empty() => {}
            }
        }
    }
}

fn register_node(session: NodeSession, shared: &Arc<Shared>) -> Result<Registration, Error> {
    let id = session.id().to_owned();
    if id.is_empty() {
        return Err(Error::new(ErrorKind::Protocol, "the node has no id"));
    }
    let offers = &session.register.functions;
    if let Some(offer) = offers.iter().find(|offer| !is_function_name(&offer.name)) {
        let text = format!(
            "`{}` is no name for a function: 1 to {MAX_NAME} of `A-Z a-z 0-9 _ . : / -`, not \
             beginning with `{RESERVED}`",
            offer.name.escape_debug()
        );
        return Err(Error::new(ErrorKind::Protocol, text));
    }
    let (registration, replaced) = Registration::new(&shared.routes, session)?;
    if let Some(old) = replaced {
        let text = format!("another session of `{id}` has taken over");
        close(old.connection(), &Error::new(ErrorKind::Cancelled, text));
    }
    Ok(registration)
}

/// Whether a node may offer a function of this name: it appears in logs and errors.
fn is_function_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    !name.is_empty() && name.bytes().all(fine) && !name.starts_with(RESERVED)
}

fn unexpected(message: &Control) -> Error {
    Error::new(ErrorKind::Protocol, format!("unexpected message: {message:?}"))
}
