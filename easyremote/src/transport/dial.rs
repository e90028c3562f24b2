//! Dialling a gateway: resolve, handshake, authenticate; repeated with back-off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, ErrorKind};
use crate::transport::auth::address::{ServerAuth, Target};
use crate::transport::auth::dial_options::{Credential, DialOptions, TlsTarget};
use crate::transport::auth::identity::random;
use crate::transport::backoff::ReconnectBackoff;
use crate::transport::control_stream::ControlStream;
use crate::transport::live_connection::{IdleSignal, LiveConnection};
use crate::transport::log_limit::Brief;
use crate::transport::quic::endpoint;
use crate::transport::quic::reset;
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::control::{Control, Hello, Register, Retag, Role};
use crate::wire::limits::{
    AUTHENTICATION_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_MESSAGE, MAX_UNFINISHED_ANSWERS,
};

/// Dials one gateway for one role of this process, as often as needed.
#[derive(Debug)]
pub(crate) struct Dialler {
    target: Target,
    role: Role,
    id: String,
    boot: [u8; 16],
    epoch: u64,
    trust: DialOptions,
    /// Maximum number of calls that the gateway may open at this end.
    streams: u32,
    /// A node's registration; the tags are read at each attempt.
    register: Option<(Register, watch::Receiver<Retag>)>,
    /// Maximum message size of this side, in bytes.
    max_message: usize,
    /// Whether small calls share a stream, and the memory budget for their long responses.
    muxes: Option<Arc<ReassemblyBudget>>,
    backoff: ReconnectBackoff,
}

/// A connection that the gateway has admitted.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// Kept as long as the connection, because it carries its packets.
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) control: ControlStream,
    /// Maximum message size that both this side and the gateway allow, in bytes.
    pub(crate) max_message: usize,
    muxes: Option<Arc<ReassemblyBudget>>,
}

impl Dialled {
    /// Returns the handle for calls on the connection, and a signal that they have all ended.
    /// `gateway` is the number of the gateway; `again` is whether there was a connection before.
    pub(crate) fn live(&self, gateway: usize, again: bool) -> (LiveConnection, IdleSignal) {
        let (connection, windows) = (self.connection.clone(), self.control.windows().clone());
        let muxes = self.muxes.clone();
        LiveConnection::new(connection, windows, self.max_message, muxes, gateway, again)
    }
}

impl Dialler {
    /// Creates a dialler for a client, which accepts no calls. The role is admin if `admin` is set
    /// or if the ticket is for an admin.
    ///
    /// # Errors
    /// `InvalidInput` if the ticket is for another role; `Unavailable` if a file is unusable, or if
    /// the operating system provides no random numbers.
    pub(crate) fn client(target: Target, trust: DialOptions, admin: bool) -> Result<Self, Error> {
        let for_admin = matches!(target.token, Some((Role::Admin, _)));
        let role = if admin || for_admin { Role::Admin } else { Role::Client };
        Self::new(target, role, String::new(), trust, 0, None)
    }

    /// Creates a dialler for the node called `id`, which accepts up to `streams` concurrent calls
    /// and registers with the current `tags`.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub(crate) fn node(
        target: Target,
        id: String,
        trust: DialOptions,
        streams: u32,
        register: Register,
        tags: watch::Receiver<Retag>,
    ) -> Result<Self, Error> {
        Self::new(target, Role::Node, id, trust, streams, Some((register, tags)))
    }

    fn new(
        target: Target,
        role: Role,
        id: String,
        trust: DialOptions,
        streams: u32,
        register: Option<(Register, watch::Receiver<Retag>)>,
    ) -> Result<Self, Error> {
        if let Some((other, _)) = target.token.as_ref().filter(|(other, _)| *other != role) {
            let text = format!(
                "the ticket for `{target}` is one for {}, and this is {}",
                other.described(),
                role.described()
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        trust.check(&target)?;
        let (boot, backoff, max_message) = (random()?, ReconnectBackoff::default(), MAX_MESSAGE);
        Ok(Self {
            target,
            role,
            id,
            boot,
            epoch: 0,
            trust,
            streams,
            register,
            max_message,
            muxes: Some(Arc::new(ReassemblyBudget::new(MAX_UNFINISHED_ANSWERS, max_message))),
            backoff,
        })
    }

    /// Sets the maximum message size of this side, in bytes; 64 MiB by default.
    pub(crate) fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets whether small calls made at this end share a stream, which is the default, and the
    /// memory budget for their long responses.
    pub(crate) fn with_mux(mut self, muxes: Option<Arc<ReassemblyBudget>>) -> Self {
        self.muxes = muxes;
        self
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Records that the gateway has revoked the last connection, so that the next attempt is
    /// delayed.
    pub(crate) fn expelled(&mut self) {
        self.backoff.expelled();
    }

    /// Records that the gateway has left on purpose and will return: for a while it is dialled more
    /// often. `rtt` is its round-trip time.
    pub(crate) fn expect_back(&mut self, rtt: Duration) {
        self.backoff.expect_back(rtt);
    }

    /// Dials until it succeeds, with back-off. `failed` is invoked after each failed attempt that
    /// will be followed by another, with its error and whether it was a refusal.
    ///
    /// # Errors
    /// With a `patience`: the last error when that time is over, or at once an error that does not
    /// go away by itself, such as a refusal. Without: never.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the current attempt.
    pub(crate) async fn dial(
        &mut self,
        patience: Option<Duration>,
        failed: impl Fn(&Error, bool),
    ) -> Result<Dialled, Error> {
        let until = patience.map(|patience| Instant::now() + patience);
        if let Some(pause) = self.backoff.after_loss() {
            sleep(pause).await;
        }
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.unwrap_or(HANDSHAKE_TIMEOUT).min(self.backoff.attempt_limit());
            let error = match self.attempt(limit).await {
                Ok(dialled) => {
                    self.epoch += 1;
                    self.backoff.connected();
                    return Ok(dialled);
                }
                Err(error) => error,
            };
            let refused = is_refusal(&error);
            let pause = if refused { self.backoff.refused() } else { self.backoff.pause() };
            let over = until.is_some_and(|until| refused || Instant::now() + pause >= until);
            if over {
                // A node keeps dialling, and must not immediately retry a gateway that has refused
                // it.
                self.backoff.gave_up(pause);
                return Err(given_up(error, refused, patience.unwrap_or_default()));
            }
            let told = Brief(error.chain());
            if refused {
                tracing::warn!(gateway = %self.target, error = %told, ?pause, "refused");
            } else {
                tracing::debug!(gateway = %self.target, error = %told, ?pause, "dialling failed");
            }
            failed(&error, refused);
            sleep(pause).await;
        }
    }

    /// Tries all addresses of the gateway, staggered, and uses the first that answers (RFC 8305):
    /// `localhost` may resolve to two addresses, one of them unreachable.
    async fn attempt(&self, limit: Duration) -> Result<Dialled, Error> {
        /// RFC 8305, section 5.
        const STAGGER: Duration = Duration::from_millis(250);
        let addresses = self.target.resolve().await?;
        let mut attempts: FuturesUnordered<_> = addresses
            .into_iter()
            .zip(0..)
            .map(|(address, i)| async move {
                sleep(STAGGER * i).await;
                self.attempt_at(address, limit.saturating_sub(STAGGER * i)).await
            })
            .collect();
        let mut outcome = Err(Error::new(ErrorKind::Unavailable, "the host name has no address"));
        while let Some(attempt) = attempts.next().await {
            outcome = attempt;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn attempt_at(&self, address: SocketAddr, limit: Duration) -> Result<Dialled, Error> {
        let TlsTarget { expected, server_name, credential } =
            self.trust.target(&self.target, self.role, address)?;
        let (token, own) = match credential {
            Credential::Token(token) => (Some(token), None),
            Credential::Certificate(own) => (None, Some(own)),
        };
        let endpoint = endpoint::dialling(address, expected, own, self.streams)?;
        let connecting = endpoint.connect(address, server_name).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot dial `{}`", self.target))
                .with_source(error)
        })?;
        let connection = match timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|cause| self.handshake_error(cause))?,
            Err(_) => return Err(self.silence()),
        };
        let stream = connection
            .open_bi()
            .await
            .map_err(|cause| reset::connection_error(cause, ErrorKind::Unavailable))?;
        let mut control = ControlStream::new(&connection, stream);
        control.queue(&Control::Hello(Hello {
            role: self.role,
            proof: token.map(|token| token.prove(&connection, self.role)).transpose()?,
            id: self.id.clone(),
            boot: self.boot,
            epoch: self.epoch,
        }))?;
        if let Some((register, tags)) = &self.register {
            let tags = tags.borrow().tags.clone();
            control.queue(&Control::Register(Register { tags, ..register.clone() }))?;
        }
        let max_message = self.admitted(&mut control).await?;
        Ok(Dialled { endpoint, connection, control, max_message, muxes: self.muxes.clone() })
    }

    /// Waits until the gateway admits this peer.
    async fn admitted(&self, control: &mut ControlStream) -> Result<usize, Error> {
        let (mut max_message, mut welcomed) = (self.max_message, false);
        loop {
            match control.next_within(AUTHENTICATION_TIMEOUT).await? {
                // Accepted once: a gateway must not keep its peer waiting with repeated welcomes.
                Control::Welcome(welcome) if !welcomed => {
                    welcomed = true;
                    let allowed = usize::try_from(welcome.max_message).unwrap_or(usize::MAX);
                    max_message = max_message.min(allowed);
                    if self.register.is_none() {
                        return Ok(max_message);
                    }
                }
                Control::Registered => return Ok(max_message),
                Control::Refused(error) => return Err(error),
                other => {
                    let text = format!("unexpected message before the welcome: {}", other.name());
                    return Err(Error::new(ErrorKind::Protocol, text));
                }
            }
        }
    }

    fn silence(&self) -> Error {
        let text = format!(
            "no answer from `{}`: is a gateway running there, and does UDP get through?",
            self.target
        );
        Error::new(ErrorKind::Unavailable, text)
    }

    fn handshake_error(&self, cause: quinn::ConnectionError) -> Error {
        use quinn::ConnectionError as Cause;
        /// TLS alerts as QUIC carries them (RFC 9001, section 4.8).
        const CRYPTO_ERRORS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
        /// The alert `no_application_protocol` (RFC 7301).
        const NO_ALPN: u64 = 0x178;
        let target = &self.target;
        match &cause {
            Cause::TimedOut => self.silence(),
            Cause::TransportError(error) if u64::from(error.code) == NO_ALPN => {
                let text = format!("`{target}` does not support this version of easyremote");
                Error::new(ErrorKind::Protocol, text).with_source(cause)
            }
            Cause::TransportError(error) if CRYPTO_ERRORS.contains(&u64::from(error.code)) => {
                let text = match self.target.known_by {
                    ServerAuth::Certificate => format!(
                        "`{target}` is not the gateway that was expected: its certificate is not \
                         valid for `{}`, or was not issued by an authority trusted here",
                        self.target.server_name(),
                    ),
                    ServerAuth::Pin(_) | ServerAuth::IdentityFile => format!(
                        "`{target}` is not the gateway that was expected: its key is not the \
                         pinned one; does it belong to another user, or is the ticket outdated?"
                    ),
                };
                Error::new(ErrorKind::Unauthenticated, text).with_source(cause)
            }
            _ => reset::connection_error(cause, ErrorKind::Unavailable),
        }
    }
}

/// Returns whether an error persists until someone changes a configuration, so that waiting is
/// pointless.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Protocol
            | ErrorKind::InvalidInput
    )
}

/// Adds the duration of the attempts to the last error, unless it is a refusal.
fn given_up(error: Error, refused: bool, patience: Duration) -> Error {
    if refused {
        return error;
    }
    error.with_more(format_args!("it was tried for {patience:?}"))
}
