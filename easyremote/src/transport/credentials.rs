//! Tokens, and the proof of holding one without showing it.

use std::fmt;

use ring::hmac;

use crate::error::{Error, ErrorKind};
use crate::wire::control::Role;

/// Bytes that must not be seen: not in logs, not in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Another secret, that says nothing about this one.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        tag(self, ["easyremote ", purpose].concat().as_bytes())
    }

    /// The bytes; for files and tickets only.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What lets a peer be of one role at one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(Secret);

/// The proof of holding a token, good for one connection only.
pub(crate) type Proof = [u8; 32];

impl Token {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The token of `role` at the gateway that keeps `secret`.
    pub(crate) fn derive(secret: &Secret, role: Role) -> Self {
        Self::new(secret.derive(&["token ", role.name()].concat()))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Proves possession to the other end of `connection`: HMAC-SHA-256 over keying material that
    /// only the two ends of this TLS connection know (RFC 8446, section 7.5), so that a proof is of
    /// no use to anyone in the middle, nor later.
    pub(crate) fn prove(&self, connection: &quinn::Connection, role: Role) -> Result<Proof, Error> {
        Ok(tag(&self.0, &keying_material(connection, role)?))
    }

    /// Whether `proof` was made with this token on `connection`; compares in constant time.
    pub(crate) fn verify(
        &self,
        connection: &quinn::Connection,
        role: Role,
        proof: &Proof,
    ) -> Result<bool, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        Ok(hmac::verify(&key, &keying_material(connection, role)?, proof).is_ok())
    }
}

fn tag(secret: &Secret, message: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&key, message).as_ref());
    tag
}

fn keying_material(connection: &quinn::Connection, role: Role) -> Result<[u8; 32], Error> {
    let mut material = [0; 32];
    connection
        .export_keying_material(&mut material, b"EXPORTER-easyremote-1", role.name().as_bytes())
        .map_err(|_| Error::new(ErrorKind::Protocol, "TLS gives no keying material"))?;
    Ok(material)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_own_token() {
        let secret = Secret::new([1; 32]);
        let node = Token::derive(&secret, Role::Node);
        assert_ne!(node, Token::derive(&secret, Role::Client));
        assert_ne!(node, Token::derive(&Secret::new([2; 32]), Role::Node));
        assert_eq!(node, Token::derive(&secret, Role::Node));
    }

    #[test]
    fn a_token_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", Token::new([7; 32])), "Token(Secret(..))");
    }
}
