//! Tests of peers that violate the authentication protocol, with raw QUIC.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::gateway::{Gateway, GatewayLimits};
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::{Identity, SERVER_NAME};
use crate::transport::auth::tls::Expected;
use crate::transport::control_stream::ControlStream;
use crate::transport::quic::endpoint;
use crate::wire::control::{Control, Hello, Proof, Role};

/// Long enough for a slow machine.
const SOON: Duration = Duration::from_secs(60);

/// A gateway, and its identity, with which every proof can be made.
async fn gateway() -> (Gateway, Identity, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let limits = GatewayLimits::new().authentication_timeout(2 * SOON);
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).limits(limits);
    let gateway = gateway.serve().await.unwrap();
    let identity = Identity::load_or_create(Some(state.path())).unwrap();
    (gateway, identity, state)
}

/// Opens a connection that has completed the handshake, and has sent nothing.
struct Raw {
    connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

impl Raw {
    async fn dial(gateway: &Gateway, identity: &Identity) -> Self {
        let address = gateway.local_addr();
        let expected = Expected::Pin(identity.pin());
        let endpoint = endpoint::dialling(address, expected, None, 0).unwrap();
        let connecting = endpoint.connect(address, SERVER_NAME).unwrap();
        Self { connection: connecting.await.unwrap(), _endpoint: endpoint }
    }

    fn proof(&self, token: &Token, role: Role) -> Proof {
        token.prove(&self.connection, role).unwrap()
    }

    /// Sends `first`, and returns the gateway's answer, which must arrive before the peer's
    /// timeout.
    async fn say(&self, first: &Control) -> Result<Control, Error> {
        let stream = self.connection.open_bi().await.unwrap();
        let mut control = ControlStream::new(&self.connection, stream);
        control.queue(first).unwrap();
        timeout(SOON, control.next()).await.expect("no answer in a minute")
    }

    async fn greet(&self, role: Role, proof: Option<Proof>) -> Result<Control, Error> {
        let id = if role == Role::Node { "n" } else { "" }.to_owned();
        self.say(&Control::Hello(Hello { role, proof, id, boot: [0; 16], epoch: 0 })).await
    }
}

fn is_refused(answer: Result<Control, Error>, kind: ErrorKind) {
    match answer {
        Ok(Control::Refused(error)) => assert_eq!(error.kind(), kind, "{error}"),
        other => panic!("let in, or not told: {other:?}"),
    }
}

#[tokio::test]
async fn a_proof_is_good_for_its_own_connection_only() {
    let (gateway, identity, _state) = gateway().await;
    let token = identity.token(Role::Client, "default");
    let (one, two) = (Raw::dial(&gateway, &identity).await, Raw::dial(&gateway, &identity).await);
    let proof = one.proof(&token, Role::Client);
    is_refused(two.greet(Role::Client, Some(proof.clone())).await, ErrorKind::Unauthenticated);
    let answer = one.greet(Role::Client, Some(proof)).await.unwrap();
    assert!(matches!(answer, Control::Welcome(_)), "{answer:?}");
}

#[tokio::test]
async fn a_proof_is_good_for_its_own_role_only() {
    let (gateway, identity, _state) = gateway().await;
    for (held, wanted) in [
        (Role::Client, Role::Node),
        (Role::Node, Role::Client),
        (Role::Client, Role::Admin),
        (Role::Node, Role::Admin),
    ] {
        for token in [identity.token(held, "default"), identity.local_token(held)] {
            let raw = Raw::dial(&gateway, &identity).await;
            let proof = raw.proof(&token, wanted);
            is_refused(raw.greet(wanted, Some(proof)).await, ErrorKind::Unauthenticated);
        }
    }
    assert_eq!(gateway.stats().clients + gateway.stats().nodes, 0);
    assert_eq!(gateway.stats().refused, 8);
}

#[tokio::test]
async fn nobody_is_let_in_without_a_proof_that_is_right_to_the_last_bit() {
    let (gateway, identity, _state) = gateway().await;
    let token = identity.token(Role::Client, "default");
    for wrong in [0, 31] {
        let raw = Raw::dial(&gateway, &identity).await;
        let mut proof = raw.proof(&token, Role::Client);
        proof.tag[wrong] ^= 1;
        is_refused(raw.greet(Role::Client, Some(proof)).await, ErrorKind::Unauthenticated);
    }
    let raw = Raw::dial(&gateway, &identity).await;
    is_refused(raw.greet(Role::Client, None).await, ErrorKind::Unauthenticated);
    // The tag that the dummy for unknown tokens would accept.
    let raw = Raw::dial(&gateway, &identity).await;
    let proof = raw.proof(&Token::new([0; 32]), Role::Client);
    is_refused(raw.greet(Role::Client, Some(proof)).await, ErrorKind::Unauthenticated);
    let raw = Raw::dial(&gateway, &identity).await;
    is_refused(raw.say(&Control::Registered).await, ErrorKind::Protocol);
    assert_eq!(gateway.stats().clients, 0);
    assert_eq!(gateway.stats().refused, 5);
}

#[tokio::test]
async fn a_client_does_not_become_a_node_by_registering() {
    let (gateway, identity, _state) = gateway().await;
    let raw = Raw::dial(&gateway, &identity).await;
    let proof = Some(raw.proof(&identity.token(Role::Client, "default"), Role::Client));
    let stream = raw.connection.open_bi().await.unwrap();
    let mut control = ControlStream::new(&raw.connection, stream);
    let (role, id) = (Role::Client, String::new());
    control.queue(&Control::Hello(Hello { role, proof, id, boot: [0; 16], epoch: 0 })).unwrap();
    let register =
        crate::wire::control::Register { tags: Vec::new(), capacity: 1, functions: Vec::new() };
    control.queue(&Control::Register(register)).unwrap();
    assert!(matches!(control.next().await.unwrap(), Control::Welcome(_)));
    is_refused(control.next().await, ErrorKind::Protocol);
    assert_eq!(gateway.stats().nodes, 0);
}
