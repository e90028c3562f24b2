//! Tokens, and proofs of possession that do not reveal them.

use std::fmt;

use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::wire::control::{Proof, Role, TokenId};

/// A secret: hidden in logs and `Debug`, and wiped from memory when it is dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Derives another secret that reveals nothing about this one: HMAC-SHA-256 of `purpose`, which
    /// is the first block of HKDF-Expand (RFC 5869, section 2.3) without its counter.
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        Self::new(tag(self, ["easyremote ", purpose].concat().as_bytes()))
    }

    /// Returns the bytes; for files and tickets only.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Compares in constant time: the duration does not reveal where two secrets differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

/// A secret that admits a peer with one role at one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(Secret);

impl Token {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Derives the token of `role` that is called `name` at the gateway with this `secret`.
    ///
    /// The name of a role contains no space, so two tokens never have the same purpose.
    pub(crate) fn derive(secret: &Secret, role: Role, name: &str) -> Self {
        Self(secret.derive(&["token ", role.name(), " ", name].concat()))
    }

    /// Derives the token of peers that can read the secret themselves.
    pub(crate) fn local(secret: &Secret, role: Role) -> Self {
        Self(secret.derive(&["local ", role.name()].concat()))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Returns the public id that tells which token a proof is for; it reveals nothing about the
    /// token.
    pub(crate) fn id(&self) -> TokenId {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.derive("token id").expose();
        [a, b, c, d, e, f, g, h]
    }

    /// Proves possession to the other end of `connection`: HMAC-SHA-256 over keying material that
    /// only the two ends of this TLS connection know (RFC 8446, section 7.5). The proof is useless
    /// to a man in the middle, and on any other connection.
    pub(crate) fn prove(&self, connection: &quinn::Connection, role: Role) -> Result<Proof, Error> {
        let tag = tag(&self.0, &keying_material(connection, role)?);
        Ok(Proof { token: self.id(), tag })
    }

    /// Returns whether `proof` was made with this token on `connection`; compares in constant time.
    pub(crate) fn verify(
        &self,
        connection: &quinn::Connection,
        role: Role,
        proof: &Proof,
    ) -> Result<bool, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        Ok(hmac::verify(&key, &keying_material(connection, role)?, &proof.tag).is_ok())
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
        .map_err(|_| Error::new(ErrorKind::Protocol, "TLS exports no keying material"))?;
    Ok(material)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_and_each_name_has_its_own_token() {
        let secret = Secret::new([1; 32]);
        let node = Token::derive(&secret, Role::Node, "a");
        assert_ne!(node, Token::derive(&secret, Role::Client, "a"));
        assert_ne!(node, Token::derive(&secret, Role::Node, "b"));
        assert_ne!(node, Token::local(&secret, Role::Node));
        assert_ne!(node, Token::derive(&Secret::new([2; 32]), Role::Node, "a"));
        assert_eq!(node, Token::derive(&secret, Role::Node, "a"));
    }

    #[test]
    fn the_id_of_a_token_is_not_a_part_of_it() {
        let token = Token::new([7; 32]);
        assert_ne!(token.id(), Token::new([8; 32]).id());
        assert!(!token.expose().windows(8).any(|part| part == token.id()));
    }

    #[test]
    fn a_token_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", Token::new([7; 32])), "Token(Secret(..))");
    }
}
