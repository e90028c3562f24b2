//! Reaching a gateway: resolve, shake hands, prove the role; and again, for as long as it takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, ErrorKind};
use crate::transport::address::Target;
use crate::transport::control_stream::ControlStream;
use crate::transport::credentials::Token;
use crate::transport::endpoint;
use crate::transport::identity::{Identity, Pin, SERVER_NAME, random};
use crate::transport::link::{Live, Unused};
use crate::transport::reset;
use crate::wire::control::{Control, Hello, Register, Role};
use crate::wire::limits::{AUTHENTICATION_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_MESSAGE};

/// Dials one gateway, as often as needed, for one role of this process.
#[derive(Debug)]
pub(crate) struct Dialler {
    target: Target,
    role: Role,
    id: String,
    boot: [u8; 16],
    epoch: u64,
    state_dir: Option<PathBuf>,
    /// Calls that the gateway may open at this end.
    streams: u32,
    /// What to register, if this is a node.
    register: Option<Register>,
    /// Longest message that this side allows.
    max_message: usize,
    backoff: Backoff,
}

/// A connection that the gateway has admitted.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// Kept for as long as the connection: it carries its packets.
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) control: ControlStream,
    /// Longest message that both this side and the gateway allow, in bytes.
    pub(crate) max_message: usize,
}

impl Dialled {
    /// What those get who open calls on it, and what tells when they have all ended.
    pub(crate) fn live(&self) -> (Live, Unused) {
        Live::new(self.connection.clone(), self.control.credits().clone(), self.max_message)
    }
}

impl Dialler {
    /// A dialler for clients, whom a gateway opens nothing.
    ///
    /// # Errors
    /// `Unavailable` if the ticket is for another role, or the system gives no random numbers.
    pub(crate) fn client(target: Target, state_dir: Option<PathBuf>) -> Result<Self, Error> {
        Self::new(target, Role::Client, String::new(), state_dir, 0, None)
    }

    /// A dialler for the node called `id`, which takes up to `streams` calls at a time.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub(crate) fn node(
        target: Target,
        id: String,
        state_dir: Option<PathBuf>,
        streams: u32,
        register: Register,
    ) -> Result<Self, Error> {
        Self::new(target, Role::Node, id, state_dir, streams, Some(register))
    }

    fn new(
        target: Target,
        role: Role,
        id: String,
        state_dir: Option<PathBuf>,
        streams: u32,
        register: Option<Register>,
    ) -> Result<Self, Error> {
        if let Some(ticket) = target.ticket.as_ref().filter(|ticket| ticket.role != role) {
            let text = format!(
                "the ticket for `{target}` is one for a {}, and this is a {}",
                ticket.role.name(),
                role.name()
            );
            return Err(Error::new(ErrorKind::Unauthenticated, text));
        }
        let (boot, backoff, max_message) = (random()?, Backoff::default(), MAX_MESSAGE);
        Ok(Self {
            target,
            role,
            id,
            boot,
            epoch: 0,
            state_dir,
            streams,
            register,
            max_message,
            backoff,
        })
    }

    /// Sets the longest message that this side allows; 64 MiB unless set.
    pub(crate) fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Dials until it works, with growing pauses.
    ///
    /// # Errors
    /// With a `patience`: the last error when it is over, or at once one that waiting does not
    /// help against, such as a refusal. Without: never.
    ///
    /// # Cancel safety
    /// Drops the attempt that is under way.
    pub(crate) async fn dial(&mut self, patience: Option<Duration>) -> Result<Dialled, Error> {
        let until = patience.map(|patience| Instant::now() + patience);
        if let Some(pause) = self.backoff.after_loss() {
            sleep(pause).await;
        }
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.unwrap_or(HANDSHAKE_TIMEOUT).min(HANDSHAKE_TIMEOUT);
            let error = match self.attempt(limit).await {
                Ok(dialled) => {
                    self.epoch += 1;
                    self.backoff.connected();
                    return Ok(dialled);
                }
                Err(error) => error,
            };
            let refused = matches!(
                error.kind(),
                ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Protocol
            );
            let pause = if refused { self.backoff.longest() } else { self.backoff.pause() };
            let over = until.is_some_and(|until| refused || Instant::now() + pause >= until);
            if over {
                return Err(given_up(error, refused, patience.unwrap_or_default()));
            }
            tracing::debug!(gateway = %self.target, %error, ?pause, "dialling failed");
            sleep(pause).await;
        }
    }

    /// Tries all addresses of the gateway, each a little after the one before, and takes the first
    /// that answers (RFC 8305): `localhost` may stand for two, of which one is silent.
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
        let mut outcome = Err(Error::new(ErrorKind::Unavailable, "there is no address to dial"));
        while let Some(attempt) = attempts.next().await {
            outcome = attempt;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn attempt_at(&self, address: SocketAddr, limit: Duration) -> Result<Dialled, Error> {
        let (pin, token) = self.trust(address)?;
        let endpoint = endpoint::dialling(address)?;
        let config = endpoint::client_config(pin, self.streams)?;
        let connecting = endpoint.connect_with(config, address, SERVER_NAME).map_err(|error| {
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
            proof: token.prove(&connection, self.role)?,
            id: self.id.clone(),
            boot: self.boot,
            epoch: self.epoch,
        }))?;
        if let Some(register) = &self.register {
            control.queue(&Control::Register(register.clone()))?;
        }
        let max_message = self.admitted(&mut control).await?;
        Ok(Dialled { endpoint, connection, control, max_message })
    }

    /// Waits for the gateway's consent.
    async fn admitted(&self, control: &mut ControlStream) -> Result<usize, Error> {
        let mut max_message = self.max_message;
        loop {
            match control.next_within(AUTHENTICATION_TIMEOUT).await? {
                Control::Welcome(welcome) => {
                    let allowed = usize::try_from(welcome.max_message).unwrap_or(usize::MAX);
                    max_message = max_message.min(allowed);
                    if self.register.is_none() {
                        return Ok(max_message);
                    }
                }
                Control::Registered => return Ok(max_message),
                Control::Refused(error) => return Err(error),
                other => {
                    let text = format!("unexpected message before the welcome: {other:?}");
                    return Err(Error::new(ErrorKind::Protocol, text));
                }
            }
        }
    }

    /// Whom to expect at `address`, and how to prove the role there.
    fn trust(&self, address: SocketAddr) -> Result<(Pin, Token), Error> {
        if let Some(ticket) = &self.target.ticket {
            return Ok((ticket.pin, ticket.token.clone()));
        }
        if !address.ip().is_loopback() {
            let text = format!(
                "`{}` is not on this machine, so its key and a token are needed: use the ticket \
                 for a {} that the gateway hands out, instead of the bare address",
                self.target,
                self.role.name()
            );
            return Err(Error::new(ErrorKind::Unauthenticated, text));
        }
        let identity = Identity::load_or_create(self.state_dir.as_deref())?;
        Ok((identity.pin(), identity.token(self.role)))
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
        /// TLS alerts, as QUIC carries them (RFC 9001, section 4.8).
        const CRYPTO_ERRORS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
        /// The alert `no_application_protocol` (RFC 7301).
        const NO_ALPN: u64 = 0x178;
        let target = &self.target;
        match &cause {
            Cause::TimedOut => self.silence(),
            Cause::TransportError(error) if u64::from(error.code) == NO_ALPN => {
                let text = format!("`{target}` does not speak this version of easyremote");
                Error::new(ErrorKind::Protocol, text).with_source(cause)
            }
            Cause::TransportError(error) if CRYPTO_ERRORS.contains(&u64::from(error.code)) => {
                let text = format!(
                    "`{target}` is not the gateway that was expected: its key is not the pinned \
                     one; is it another user's, or is the ticket an old one?"
                );
                Error::new(ErrorKind::Unauthenticated, text).with_source(cause)
            }
            _ => reset::connection_error(cause, ErrorKind::Unavailable),
        }
    }
}

/// The error of the last attempt, and how long there have been attempts if that is of interest.
fn given_up(error: Error, refused: bool, patience: Duration) -> Error {
    if refused {
        return error;
    }
    Error::new(error.kind(), format!("{error} (tried for {patience:?})")).with_source(error)
}

/// Pauses between attempts: 250 ms, growing by 1.6 to 10 s, each between half and all of that, so
/// that many peers of a gateway that comes back do not arrive at once.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    connected: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const FACTOR: f64 = 1.6;
    const LONGEST: Duration = Duration::from_secs(10);
    /// A connection that held this long counts as a success. One that is accepted and closed again
    /// and again does not, so it is not retried in a hot loop.
    const HEALTHY: Duration = Duration::from_secs(10);

    fn connected(&mut self) {
        self.connected = Some(Instant::now());
    }

    /// The pause before the first attempt after a connection: short if it was healthy, so that the
    /// peers of a gateway that restarts do not all come in the same instant.
    fn after_loss(&mut self) -> Option<Duration> {
        let connected = self.connected.take()?;
        if connected.elapsed() >= Self::HEALTHY {
            self.failures = 0;
            return Some(Self::FIRST.mul_f64(fastrand::f64()));
        }
        Some(self.pause())
    }

    fn pause(&mut self) -> Duration {
        let exponent = f64::from(self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let full = Self::FIRST.mul_f64(Self::FACTOR.powf(exponent)).min(Self::LONGEST);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn longest(&self) -> Duration {
        Self::LONGEST.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        let mut backoff = Backoff::default();
        for attempt in 0..100 {
            let full = Backoff::FIRST.mul_f64(1.6_f64.powi(attempt.min(20))).min(Backoff::LONGEST);
            let pause = backoff.pause();
            assert!(pause <= full && pause >= full / 2, "{attempt}: {pause:?} of {full:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_held_resets_the_pauses() {
        let mut backoff = Backoff { failures: 50, connected: None };
        assert_eq!(backoff.after_loss(), None);
        backoff.connected();
        assert!(backoff.after_loss().unwrap() >= Backoff::LONGEST / 2);
        backoff.connected();
        tokio::time::advance(Backoff::HEALTHY).await;
        assert!(backoff.after_loss().unwrap() <= Backoff::FIRST);
        assert!(backoff.pause() <= Backoff::FIRST);
    }
}
