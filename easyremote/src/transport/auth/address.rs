//! Addresses of gateways, in all forms that a program may pass.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::{Error, ErrorKind};
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::Pin;
use crate::transport::auth::ticket::{Address, SCHEME, Ticket, host_and_port};
use crate::wire::control::Role;

/// The gateways that a node or a client dials; at least one.
///
/// Created by [`from_env`] or by any type that implements [`IntoGateways`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateways {
    pub(crate) targets: Vec<Target>,
}

/// One gateway.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) known_by: ServerAuth,
    pub(crate) token: Option<(Role, Token)>,
}

/// How a gateway is authenticated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerAuth {
    /// By the identity file of this user on this machine.
    IdentityFile,
    /// By the hash of its public key.
    Pin(Pin),
    /// By a certificate for its host name.
    Certificate,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The variable that [`from_env`] reads.
const VARIABLE: &str = "EASYREMOTE_GATEWAY";

/// Reads the gateways from the environment variable `EASYREMOTE_GATEWAY`.
///
/// The value is an address or a ticket, or several of them separated by commas.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// // EASYREMOTE_GATEWAY=easyremote://gw.example.com:8080?pin=..&token=..
/// let client = easyremote::Client::connect(easyremote::from_env()?).await?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if the variable is not set, or if its value is not a valid list.
#[doc(alias = "EASYREMOTE_GATEWAY")]
#[doc(alias = "environment")]
pub fn from_env() -> Result<Gateways, Error> {
    match std::env::var(VARIABLE) {
        Ok(text) => text.into_gateways(),
        Err(_) => Err(Error::new(
            ErrorKind::InvalidInput,
            format!("`{VARIABLE}` is not set; set it to `host:port` or to a ticket"),
        )),
    }
}

/// Types that can be passed as a gateway's address.
///
/// These are `"host:port"`, a [`SocketAddr`], a [`Ticket`], an array or a `Vec` of them, and one
/// string with several addresses separated by commas. The trait is sealed.
///
/// ```
/// use easyremote::auth::IntoGateways;
///
/// assert!("gw-1.example.com:8080, gw-2.example.com:8080".into_gateways().is_ok());
/// assert!("http://gw.example.com".into_gateways().is_err());
/// ```
pub trait IntoGateways: sealed::Sealed {
    /// Parses the address or addresses.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if one is invalid; the message says what is wrong with it. It
    /// never quotes the address, which may be a ticket.
    fn into_gateways(self) -> Result<Gateways, Error>;
}

impl IntoGateways for &str {
    fn into_gateways(self) -> Result<Gateways, Error> {
        let n = self.split(',').count();
        let targets = self.split(',').enumerate().map(|(i, part)| target(part.trim(), (i + 1, n)));
        Ok(Gateways { targets: targets.collect::<Result<_, _>>()? })
    }
}

/// Parses address `i` of `n`. An invalid address is never quoted in the error: it may be part of a
/// ticket, or a ticket with a typo.
fn target(text: &str, (i, n): (usize, usize)) -> Result<Target, Error> {
    if text.starts_with(SCHEME) {
        let Address { host, port, pin, token } = text.parse()?;
        return Ok(Target { host, port, known_by: known_by(pin), token });
    }
    let (host, port) = host_and_port(text).ok_or_else(|| {
        let which = if n == 1 { String::new() } else { format!(" number {i} of {n}") };
        let wrong = if text.is_empty() { "is empty" } else { "is invalid" };
        let text = format!("the gateway address{which} {wrong}; write `host:port` or a ticket");
        Error::new(ErrorKind::InvalidInput, text)
    })?;
    Ok(Target { host, port, known_by: ServerAuth::IdentityFile, token: None })
}

fn known_by(pin: Option<Pin>) -> ServerAuth {
    pin.map_or(ServerAuth::Certificate, ServerAuth::Pin)
}

impl IntoGateways for String {
    fn into_gateways(self) -> Result<Gateways, Error> {
        self.as_str().into_gateways()
    }
}

impl IntoGateways for &String {
    fn into_gateways(self) -> Result<Gateways, Error> {
        self.as_str().into_gateways()
    }
}

impl IntoGateways for SocketAddr {
    fn into_gateways(self) -> Result<Gateways, Error> {
        self.to_string().into_gateways()
    }
}

impl IntoGateways for Ticket {
    fn into_gateways(self) -> Result<Gateways, Error> {
        let Self { host, port, pin, role, token } = self;
        let target = Target { host, port, known_by: known_by(pin), token: Some((role, token)) };
        Ok(Gateways { targets: vec![target] })
    }
}

impl IntoGateways for Gateways {
    fn into_gateways(self) -> Result<Gateways, Error> {
        Ok(self)
    }
}

impl<T: IntoGateways> IntoGateways for Vec<T> {
    fn into_gateways(self) -> Result<Gateways, Error> {
        let mut targets = Vec::new();
        for gateways in self {
            targets.extend(gateways.into_gateways()?.targets);
        }
        if targets.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "the list of gateways is empty"));
        }
        Ok(Gateways { targets })
    }
}

impl<T: IntoGateways, const N: usize> IntoGateways for [T; N] {
    fn into_gateways(self) -> Result<Gateways, Error> {
        Vec::from(self).into_gateways()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &str {}
    impl Sealed for String {}
    impl Sealed for &String {}
    impl Sealed for super::SocketAddr {}
    impl Sealed for super::Ticket {}
    impl Sealed for super::Gateways {}
    impl<T: super::IntoGateways> Sealed for Vec<T> {}
    impl<T: super::IntoGateways, const N: usize> Sealed for [T; N] {}
}

impl Target {
    /// Returns the host name to expect in the certificate.
    pub(crate) fn server_name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Resolves the host name. An unspecified address, such as 0.0.0.0, is replaced by the loopback
    /// address.
    ///
    /// # Errors
    /// `Unavailable` if the name does not resolve.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        let unresolved = || Error::new(ErrorKind::Unavailable, format!("cannot resolve `{self}`"));
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(self.to_string())
            .await
            .map_err(|error| unresolved().with_source(error))?
            .map(reachable)
            .collect();
        if addresses.is_empty() { Err(unresolved()) } else { Ok(addresses) }
    }
}

/// Maps an unspecified address to loopback: a gateway that listens on all addresses returns one
/// from `local_addr`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(gateways: impl IntoGateways) -> Vec<String> {
        gateways.into_gateways().unwrap().targets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_form_is_understood() {
        let socket: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(shown("gw:8080"), ["gw:8080"]);
        assert_eq!(shown(socket), ["[::1]:80"]);
        assert_eq!(shown("a:1, b:2".to_owned()), ["a:1", "b:2"]);
        assert_eq!(shown(["a:1", "b:2,c:3"]), ["a:1", "b:2", "c:3"]);
        assert_eq!(shown(vec![socket, socket]), ["[::1]:80", "[::1]:80"]);
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_shown() {
        for bad in ["", "gw", "gw:", ":80", "gw:70000", "::1:80", "a:1,", "http://gw:80"] {
            let error = bad.into_gateways().unwrap_err();
            assert!(error.to_string().contains("write `host:port`"), "{bad}: {error}");
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
        let error = "a:1,b".into_gateways().unwrap_err();
        assert!(error.to_string().starts_with("the gateway address number 2 of 2"), "{error}");
        assert!(Vec::<String>::new().into_gateways().is_err());
    }

    #[tokio::test]
    async fn any_address_is_reached_over_loopback() {
        let gateways = "0.0.0.0:80".into_gateways().unwrap();
        let addresses = gateways.targets[0].resolve().await.unwrap();
        assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
    }
}
