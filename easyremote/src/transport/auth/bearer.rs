//! Bearers: what HTTP requests show in place of a token.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hkdf;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::credentials::{Secret, Token};
use crate::transport::auth::identity::Pin;
use crate::wire::control::{Role, TokenId};

/// The secret with which HTTP requests act as one identity of a gateway, in the header
/// `Authorization: Bearer ..` (RFC 6750, section 2.1).
///
/// [`Gateway::bearer`](crate::Gateway::bearer) derives it from the token of a client or an admin. It
/// opens no QUIC session, and no [`Ticket`](crate::Ticket) works over HTTP. `Display` shows the
/// secret, so keep a bearer like a password. `Debug` hides it.
///
/// ```
/// use easyremote::auth::Bearer;
/// use easyremote::{Gateway, Role};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
///
/// let gateway = Gateway::serve("127.0.0.1:0").await?;
/// let bearer = gateway.bearer(Role::Client, "default")?;
/// let text = bearer.to_string();
/// assert!(text.starts_with("erbc_"));
/// assert_eq!(text.parse::<Bearer>()?, bearer);
/// # gateway.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "api_key")]
#[doc(alias = "password")]
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    role: Role,
    /// Public: which token the secret is derived from.
    token: TokenId,
    secret: Secret,
}

/// Prefixes of the text, by role. A node makes no HTTP requests.
const PREFIXES: [(Role, &str); 2] = [(Role::Client, "erbc_"), (Role::Admin, "erba_")];

/// Lengths of the two parts behind the prefix, in bytes.
const ID: usize = size_of::<TokenId>();
const SECRET: usize = 32;

impl Bearer {
    /// Derives the bearer of `token` at the gateway with this `pin`: HKDF-SHA-256 (RFC 5869) with
    /// the pin as salt. Another `generation` yields another bearer. `None` for a node.
    pub(crate) fn derive(token: &Token, role: Role, pin: &Pin, generation: u64) -> Option<Self> {
        prefix(role)?;
        let purpose = format!("easyremote bearer {} {generation}", role.name());
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, pin).extract(token.expose());
        let mut secret = Zeroizing::new([0; SECRET]);
        key.expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256).ok()?.fill(&mut *secret).ok()?;
        Some(Self { role, token: token.id(), secret: Secret::new(*secret) })
    }

    /// Returns the role that requests with the bearer have.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// assert_eq!(gateway.bearer(Role::Admin, "default")?.role(), Role::Admin);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the public id of the token that the bearer is derived from.
    pub(crate) fn token(&self) -> TokenId {
        self.token
    }
}

fn prefix(role: Role) -> Option<&'static str> {
    PREFIXES.iter().find(|(of, _)| *of == role).map(|(_, prefix)| *prefix)
}

impl fmt::Display for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Zeroizing::new([0; ID + SECRET]);
        bytes[..ID].copy_from_slice(&self.token);
        bytes[ID..].copy_from_slice(self.secret.expose());
        let prefix = prefix(self.role).unwrap_or_default();
        write!(f, "{prefix}{}", Base64Display::new(&*bytes, &BASE64))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("role", &self.role).finish_non_exhaustive()
    }
}

impl FromStr for Bearer {
    type Err = Error;

    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the text is no bearer. The message shows nothing
    /// of it.
    fn from_str(text: &str) -> Result<Self, Error> {
        parsed(text).ok_or_else(|| {
            let is_token = ["ern_", "erc_", "era_", "easyremote://"];
            let text = match is_token.iter().any(|prefix| text.starts_with(prefix)) {
                true => {
                    "this is a ticket or a token, which works over QUIC only: HTTP needs a bearer, \
                     from `Gateway::bearer`"
                }
                false => "a bearer is written as `erbc_` or `erba_` and 54 characters of base64url",
            };
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

fn parsed(text: &str) -> Option<Bearer> {
    let found = PREFIXES.iter().find_map(|(role, it)| Some((*role, text.strip_prefix(it)?)));
    let (role, rest) = found?;
    let bytes = Zeroizing::new(BASE64.decode(rest).ok()?);
    let (token, secret) = bytes.split_first_chunk::<ID>()?;
    Some(Bearer { role, token: *token, secret: Secret::new(secret.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(token: u8, role: Role, pin: u8, generation: u64) -> Bearer {
        Bearer::derive(&Token::new([token; 32]), role, &[pin; 32], generation).unwrap()
    }

    #[test]
    fn each_input_makes_another_bearer_and_none_is_the_token() {
        let all = [
            bearer(1, Role::Client, 1, 0),
            bearer(2, Role::Client, 1, 0),
            bearer(1, Role::Admin, 1, 0),
            bearer(1, Role::Client, 2, 0),
            bearer(1, Role::Client, 1, 1),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].iter().any(|other| other.secret == one.secret));
            assert_ne!(one.secret.expose(), &[1; 32]);
        }
        assert_eq!(bearer(1, Role::Client, 1, 0), all[0]);
        assert!(Bearer::derive(&Token::new([1; 32]), Role::Node, &[1; 32], 0).is_none());
    }

    #[test]
    fn texts_survive_and_every_typo_is_refused() {
        for role in [Role::Client, Role::Admin] {
            let one = bearer(0x5a, role, 7, 3);
            let text = one.to_string();
            assert_eq!(text.parse::<Bearer>().unwrap(), one);
            for end in 0..text.len() {
                assert!(text[..end].parse::<Bearer>().is_err(), "{end}");
            }
            for odd in [format!("{text}A"), format!(" {text}"), text.replace("erb", "er")] {
                assert!(odd.parse::<Bearer>().is_err(), "{odd}");
            }
            let other = if role == Role::Client { "erba_" } else { "erbc_" };
            let changed = format!("{other}{}", &text[5..]).parse::<Bearer>().unwrap();
            assert_ne!(changed, one);
        }
    }

    #[test]
    fn nothing_shows_the_secret_but_display() {
        let one = bearer(0x5a, Role::Client, 7, 3);
        let text = one.to_string();
        let shown =
            format!("{one:?} {one:#?} {}", format!("{text}!").parse::<Bearer>().unwrap_err());
        let parts = text.as_bytes().windows(8);
        assert!(!parts.into_iter().any(|part| shown.as_bytes().windows(8).any(|it| it == part)));
    }
}
