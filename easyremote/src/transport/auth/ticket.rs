//! Tickets: everything a peer needs to reach a gateway and to be admitted, as one line of text.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::Pin;
use crate::wire::control::Role;

/// An address, the hash of a gateway's key, and the token of one role:
/// `easyremote://host:port?pin=<hash>&token=<secret>`.
///
/// Without `pin`, the gateway must present a certificate for `host`: see
/// [`without_pin`](Self::without_pin).
///
/// [`Gateway::ticket`](crate::Gateway::ticket) creates a ticket;
/// [`Client::connect`](crate::Client::connect) and [`Node::serve`](crate::Node::serve) accept it,
/// as a value or as text. `Display` contains the token, so keep a ticket like a password. `Debug`
/// hides the token.
///
/// ```
/// use easyremote::{Gateway, Role, Ticket};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
///
/// let gateway = Gateway::serve("127.0.0.1:0").await?;
/// let text = gateway.ticket(Role::Client).to_string();
/// let ticket: Ticket = text.parse()?;
/// assert_eq!(ticket.role(), Role::Client);
/// # gateway.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "url")]
#[doc(alias = "invite")]
#[doc(alias = "credentials")]
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None` if the gateway presents a certificate.
    pub(crate) pin: Option<Pin>,
    pub(crate) role: Role,
    pub(crate) token: Token,
}

/// Prefix of every ticket.
pub(crate) const SCHEME: &str = "easyremote://";

impl Ticket {
    /// Returns the role that the ticket grants.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// assert_eq!(gateway.ticket(Role::Node).role(), Role::Node);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the ticket with another address, `host:port`.
    ///
    /// Use this where peers reach the gateway by an address other than the one it listens on, such
    /// as a public host name.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let ticket = gateway.ticket(Role::Client).at("gw.example.com:8080")?;
    /// assert!(ticket.to_string().starts_with("easyremote://gw.example.com:8080?pin="));
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if `address` is not `host:port`.
    #[doc(alias = "host")]
    #[doc(alias = "with_address")]
    pub fn at(mut self, address: &str) -> Result<Self, Error> {
        (self.host, self.port) = host_and_port(address).ok_or_else(|| {
            // The address is not quoted: it may be a ticket, which contains a secret.
            let text = "the address for the ticket is invalid; write `host:port`";
            Error::new(ErrorKind::InvalidInput, text)
        })?;
        Ok(self)
    }

    /// Returns the ticket without the hash of the gateway's key.
    ///
    /// Peers then authenticate the gateway by a
    /// [certificate](crate::gateway::GatewayBuilder::certificate) for its host name. They verify it
    /// with the authorities in [`DialOptions::authority`](crate::auth::DialOptions::authority), or
    /// with the public ones if the crate's feature `public-ca` is enabled.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let ticket = gateway.ticket(Role::Client).at("gw.example.com:8080")?.without_pin();
    /// assert!(!ticket.to_string().contains("pin="));
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn without_pin(mut self) -> Self {
        self.pin = None;
        self
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:{}?", self.host, self.port)?;
        if let Some(pin) = self.pin {
            write!(f, "pin={}&", BASE64.encode(pin))?;
        }
        // Encoded straight into the formatter: no copy of the token stays in memory.
        let token = Base64Display::new(self.token.expose(), &BASE64);
        write!(f, "token={}{token}", prefix(self.role))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({SCHEME}{}:{}, {:?})", self.host, self.port, self.role)
    }
}

/// Returns the prefix of a role's tokens: a ticket for the wrong role is rejected before any packet
/// is sent.
fn prefix(role: Role) -> &'static str {
    match role {
        Role::Node => "ern_",
        Role::Client => "erc_",
        Role::Admin => "era_",
    }
}

impl FromStr for Ticket {
    type Err = Error;

    /// Parses a ticket, as `Display` writes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the scheme, the address or a parameter is invalid, or if the
    /// token is missing. The message says which; it does not quote the text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let Address { host, port, pin, token } = text.parse()?;
        let (role, token) = token.ok_or_else(|| bad("token is missing"))?;
        Ok(Self { host, port, pin, role, token })
    }
}

/// A ticket, or one without a token for peers that have a certificate.
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) pin: Option<Pin>,
    pub(crate) token: Option<(Role, Token)>,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| bad("scheme is not `easyremote`"))?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) =
            host_and_port(address).ok_or_else(|| bad("address is not `host:port`"))?;
        let (mut pin, mut token) = (None, None);
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let twice = match pair.split_once('=') {
                Some(("pin", value)) => pin.replace(value),
                Some(("token", value)) => token.replace(value),
                _ => return Err(bad("query has a part that is neither `pin` nor `token`")),
            };
            if twice.is_some() {
                return Err(bad("query repeats a parameter"));
            }
        }
        let wrong_pin = || bad("pin is not 32 bytes in base64url");
        let pin = pin.map(|pin| decode(pin).ok_or_else(wrong_pin)).transpose()?;
        let token = token.map(read_token).transpose()?;
        Ok(Self { host, port, pin, token })
    }
}

fn read_token(text: &str) -> Result<(Role, Token), Error> {
    let (role, token) = Role::ALL
        .into_iter()
        .find_map(|role| Some((role, text.strip_prefix(prefix(role))?)))
        .ok_or_else(|| bad("token begins with none of `ern_`, `erc_` and `era_`"))?;
    let token = decode(token).ok_or_else(|| bad("token is not 32 bytes in base64url"))?;
    Ok((role, Token::new(token)))
}

fn bad(part: &str) -> Error {
    let text = format!(
        "the ticket's {part}; a ticket is `{SCHEME}host:port?pin=..&token=..`, as the gateway \
         prints it"
    );
    Error::new(ErrorKind::InvalidInput, text)
}

fn decode(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// Splits `host:port`, `1.2.3.4:port` or `[::1]:port`; the brackets stay with the host.
///
/// Callers must not quote a rejected text: a host appears in errors, and a token must not.
pub(crate) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    // Anything else, such as the rest of a ticket, would otherwise be shown as a host name.
    let is_name = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c))
            && !Role::ALL.iter().any(|role| text.contains(prefix(*role)))
    };
    let fine = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => {
            // With a zone, as in `fe80::1%eth0`.
            let (address, zone) = v6.split_once('%').unwrap_or((v6, "0"));
            address.parse::<std::net::Ipv6Addr>().is_ok() && is_name(zone)
        }
        None => is_name(host),
    };
    Some((fine.then(|| host.to_owned())?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Ticket {
        Ticket {
            host: "gw.example.com".into(),
            port: 8080,
            pin: Some([1; 32]),
            role: Role::Client,
            token: Token::new([2; 32]),
        }
    }

    #[test]
    fn tickets_survive_text() {
        assert_eq!(sample().to_string().parse::<Ticket>().unwrap(), sample());
        for role in Role::ALL {
            let v6 = Ticket { host: "[::1]".into(), role, ..sample() };
            assert_eq!(v6.to_string().parse::<Ticket>().unwrap(), v6);
        }
        let unpinned = sample().without_pin();
        assert!(unpinned.to_string().starts_with("easyremote://gw.example.com:8080?token=erc_"));
        assert_eq!(unpinned.to_string().parse::<Ticket>().unwrap(), unpinned);
    }

    #[test]
    fn a_ticket_can_be_for_another_address() {
        let moved = sample().at("[::1]:443").unwrap();
        assert_eq!((moved.host.as_str(), moved.port), ("[::1]", 443));
        assert!(sample().at("gw.example.com").is_err());
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        for fine in ["host", "gw-1.example.com", "10.0.0.1", "[::1]", "[fe80::1%eth0]", "bücher.de"]
        {
            assert_eq!(host_and_port(&format!("{fine}:80")), Some((fine.to_owned(), 80)));
        }
        for odd in [
            "",
            "[]",
            "[host]",
            "::1",
            "a b",
            "a?token=x",
            "[::1?pin=x]",
            "[::1%&token=x]",
            "erc_AgIC",
            "host.ern_AgIC",
            "[::1%]",
        ] {
            assert_eq!(host_and_port(&format!("{odd}:80")), None, "{odd}");
        }
    }

    #[test]
    fn debug_hides_the_token() {
        let text = format!("{:?}", sample());
        assert!(!text.contains(&BASE64.encode([2; 32])), "{text}");
    }

    /// Tickets with a typo of each kind at each place.
    fn typos(good: &str) -> Vec<String> {
        let mut typos = Vec::new();
        for (at, c) in good.char_indices() {
            let (before, after) = (&good[..at], &good[at + c.len_utf8()..]);
            typos.push(format!("{before}{after}"));
            typos.push(format!("{before}{c}{c}{after}"));
            typos.push(before.to_owned());
            typos.push(format!("{c}{after}"));
            for other in "aZ0 :/?&=,.-_#@%[]\\\"'\n\0é".chars() {
                typos.push(format!("{before}{other}{after}"));
                typos.push(format!("{before}{other}{c}{after}"));
            }
            if let Some(next) = after.chars().next() {
                typos.push(format!("{before}{next}{c}{}", &after[next.len_utf8()..]));
            }
        }
        let whole = [
            good.replace("://", ":"),
            good.replace("easyremote://", ""),
            good.replace("easyremote", "https"),
            good.replace("token=", ""),
            good.replace("&token", "?token"),
            good.replace('?', "/?"),
            good.to_uppercase(),
            format!("\"{good}\""),
            format!("{good} "),
            format!("EASYREMOTE_GATEWAY={good}"),
            format!("{good}:8080"),
            format!("{good},{good}x"),
        ];
        typos.extend(whole);
        typos
    }

    #[test]
    fn no_error_shows_anything_of_a_token() {
        use crate::transport::auth::address::IntoGateways;
        let token = [0x5a, 0xc3, 0x99, 0x1e, 0x77, 0xd0, 0x42, 0xb8].repeat(4);
        let token = Token::new(token.try_into().unwrap());
        let secret = BASE64.encode(token.expose());
        let good = Ticket { token, ..sample() };
        let parts: Vec<_> = secret.as_bytes().windows(6).collect();
        let hides = |shown: &str, typo: &str| {
            let shows = parts.iter().any(|part| shown.as_bytes().windows(6).any(|w| w == *part));
            assert!(!shows, "{typo:?}: {shown}");
        };
        for typo in typos(&good.to_string()) {
            let read = [
                typo.parse::<Ticket>().map(|ticket| format!("{ticket:?}")),
                typo.as_str().into_gateways().map(|gateways| format!("{gateways:?} {gateways:#?}")),
                sample().at(&typo).map(|ticket| format!("{ticket:?}")),
            ];
            for read in read {
                let shown = read.unwrap_or_else(|error| format!("{error} {error:?} {error:#?}"));
                hides(&shown, &typo);
            }
        }
    }

    #[test]
    fn a_damaged_ticket_names_the_part() {
        let good = sample().to_string();
        for (bad, part) in [
            (good.replace("easyremote://", "https://"), "scheme"),
            (good.replace(":8080", ""), "address"),
            (good.replace("pin=AQEB", "pin="), "pin"),
            (good.replace("&token", "&tokem"), "query"),
            (good.replace("erc_", "erx_"), "token"),
            (good.replace("erc_AgIC", "erc_"), "token"),
            (good.split('?').next().unwrap().to_owned(), "token"),
            (good.split('&').next().unwrap().to_owned(), "token"),
            (format!("{good}&pin=x"), "query"),
            (format!("{good}&"), "query"),
        ] {
            let error = bad.parse::<Ticket>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("the ticket's {part}")), "{error}");
        }
    }
}
