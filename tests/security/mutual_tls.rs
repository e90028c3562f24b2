//! Peers that show certificates in place of tokens.

use std::path::PathBuf;

use common::authority::Authority;
use common::{found_in, soon, until};
use easyremote::auth::DialOptions;
use easyremote::client::ClientBuilder;
use easyremote::{
    Client, Context, Error, ErrorKind, Executed, Gateway, Node, Role, functions, remote,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use tempfile::TempDir;

#[remote]
fn caller(#[ctx] ctx: &Context) -> (String, String) {
    let caller = ctx.caller();
    (format!("{:?}", caller.role), caller.identity.clone())
}

#[remote]
async fn of_node(#[ctx] ctx: &Context) -> Result<(String, String), String> {
    caller::call(&ctx.client()).await.map_err(|error| error.to_string())
}

/// A gateway with an authority for each role.
struct World {
    gateway: Gateway,
    nodes: Authority,
    clients: Authority,
    state: TempDir,
}

impl World {
    async fn start() -> Self {
        let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
        let state = tempfile::tempdir().unwrap();
        let gateway = common::gateway_at("127.0.0.1:0")
            .state_dir(state.path())
            .authority(Role::Node, nodes.file())
            .authority(Role::Client, clients.file());
        let gateway = soon(gateway.serve()).await.unwrap();
        Self { gateway, nodes, clients, state }
    }

    /// The same gateway again.
    async fn restarted(self) -> Self {
        let Self { gateway, nodes, clients, state } = self;
        let address = gateway.local_addr();
        soon(gateway.shutdown()).await;
        drop(gateway);
        let gateway = common::gateway_at(address)
            .state_dir(state.path())
            .authority(Role::Node, nodes.file())
            .authority(Role::Client, clients.file());
        let gateway = soon(gateway.serve()).await.unwrap();
        Self { gateway, nodes, clients, state }
    }

    /// The gateway's address and pin, without a token.
    fn address(&self) -> String {
        let ticket = self.gateway.ticket(Role::Client).to_string();
        ticket.split_once("&token").unwrap().0.to_owned()
    }

    fn client(&self, (chain, key): (PathBuf, PathBuf)) -> ClientBuilder {
        Client::builder(self.address()).dial(DialOptions::new().certificate(chain, key))
    }

    async fn node(&self, (chain, key): (PathBuf, PathBuf)) -> Result<Node, Error> {
        let node = Node::builder(self.address()).dial(DialOptions::new().certificate(chain, key));
        soon(node.functions(functions![caller, of_node]).serve()).await
    }
}

fn is_refused(error: &Error, part: &str) {
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn the_name_in_a_certificate_is_the_identity_of_who_shows_it() {
    let world = World::start().await;
    let node = world.nodes.sign_name("gpu-1.example.com", "node");
    let _node = world.node(node).await.unwrap();
    let mut parameters = CertificateParams::default();
    let uri = "spiffe://example.com/web".try_into().unwrap();
    parameters.subject_alt_names.push(SanType::URI(uri));
    let client = world.clients.sign(parameters, "client");
    let client = soon(world.client(client).connect()).await.unwrap();
    let (role, identity) = soon(caller::call(&client)).await.unwrap();
    assert_eq!((role.as_str(), identity.as_str()), ("Client", "spiffe://example.com/web"));
    let (role, identity) = soon(of_node::call(&client)).await.unwrap();
    assert_eq!((role.as_str(), identity.as_str()), ("Node", "gpu-1.example.com"));
}

#[tokio::test]
async fn a_certificate_is_good_for_the_role_of_its_authority_only() {
    let world = World::start().await;
    let (node, client) =
        (world.nodes.sign_name("a.test", "a"), world.clients.sign_name("b.test", "b"));
    let error = soon(world.client(node).connect()).await.unwrap_err();
    is_refused(&error, "this gateway does not accept the certificate for a client");
    is_refused(
        &world.node(client.clone()).await.unwrap_err(),
        "does not accept the certificate for a node",
    );
    let error = soon(world.client(client).admin().connect()).await.unwrap_err();
    is_refused(&error, "accepts no certificates for an admin");

    let strange = Authority::new("clients");
    let stranger = strange.sign_name("b.test", "b");
    is_refused(
        &soon(world.client(stranger).connect()).await.unwrap_err(),
        "does not accept the certificate for a client",
    );
    let mut expired = CertificateParams::new(vec!["b.test".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = world.clients.sign(expired, "expired");
    is_refused(&soon(world.client(expired).connect()).await.unwrap_err(), "expired");
    let mut server = CertificateParams::new(vec!["b.test".to_owned()]).unwrap();
    server.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let server = world.clients.sign(server, "server");
    is_refused(
        &soon(world.client(server).connect()).await.unwrap_err(),
        "does not accept the certificate for a client",
    );
    assert_eq!(world.gateway.stats().clients + world.gateway.stats().nodes, 0);
}

#[tokio::test]
async fn a_certificate_needs_a_name_that_is_not_reserved() {
    let world = World::start().await;
    for (names, part) in [
        (vec![], "neither a DNS name nor a URI"),
        (vec!["default".to_owned()], "`default` in the certificate is not a valid peer name"),
        (vec!["*.example.com".to_owned()], "is not a valid peer name"),
    ] {
        let files = world.clients.sign(CertificateParams::new(names).unwrap(), "odd");
        is_refused(&soon(world.client(files).connect()).await.unwrap_err(), part);
    }
}

#[tokio::test]
async fn an_authority_takes_the_place_of_the_default_token() {
    let world = World::start().await;
    assert!(world.gateway.tokens(Role::Client).is_empty());
    let error = soon(Client::connect(world.gateway.ticket(Role::Client))).await.unwrap_err();
    is_refused(&error, "the token is not valid for a client");
    // A token that is named is valid beside the certificates.
    let ticket = world.gateway.add_token(Role::Client, "ci").unwrap();
    soon(Client::connect(ticket)).await.unwrap();
}

#[tokio::test]
async fn who_has_neither_token_nor_certificate_is_told_what_to_do() {
    let world = World::start().await;
    let error = soon(Client::connect(world.address())).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    assert!(error.to_string().contains("has no token"), "{error}");
    assert!(error.to_string().contains("`DialOptions::certificate`"), "{error}");

    // A gateway without authorities asks for no certificate.
    let state = tempfile::tempdir().unwrap();
    let plain = common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve();
    let plain = soon(plain).await.unwrap();
    let (chain, key) = world.clients.sign_name("a.test", "a");
    let client = Client::builder(plain.local_addr()).dial(found_in(state.path()));
    let error =
        soon(client.dial(DialOptions::new().certificate(chain, key)).connect()).await.unwrap_err();
    is_refused(&error, "accepts no certificates for a client");
}

#[tokio::test]
async fn a_revoked_name_is_let_in_no_more() {
    let world = World::start().await;
    let _node = world.node(world.nodes.sign_name("gpu-1", "node")).await.unwrap();
    let client = world.clients.sign_name("a.test", "a");
    let connected = soon(world.client(client.clone()).connect()).await.unwrap();
    soon(caller::call(&connected)).await.unwrap();
    assert!(world.gateway.revoke(Role::Client, "a.test"));
    until(|| world.gateway.stats().clients == 0).await;
    let error = soon(caller::call(&connected)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    is_refused(&soon(world.client(client).connect()).await.unwrap_err(), "have been revoked");
    let other = world.clients.sign_name("b.test", "b");
    soon(world.client(other).connect()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_name_is_let_in_no_more_after_a_restart() {
    let mut world = World::start().await;
    let client = world.clients.sign_name("a.test", "a");
    let node = world.nodes.sign_name("gpu-1", "node");
    assert!(world.gateway.revoke(Role::Client, "a.test"));
    // Also one that has never been here.
    assert!(world.gateway.revoke(Role::Node, "gpu-1"));
    for _ in 0..2 {
        world = world.restarted().await;
        let error = soon(world.client(client.clone()).connect()).await.unwrap_err();
        is_refused(&error, "have been revoked");
        is_refused(&world.node(node.clone()).await.unwrap_err(), "have been revoked");
        let other = world.clients.sign_name("b.test", "b");
        soon(world.client(other).connect()).await.unwrap();
    }
    assert!(world.gateway.allow_again(Role::Client, "a.test").unwrap());
    soon(world.client(client.clone()).connect()).await.unwrap();
    is_refused(&world.node(node.clone()).await.unwrap_err(), "have been revoked");
    world = world.restarted().await;
    soon(world.client(client).connect()).await.unwrap();
    is_refused(&world.node(node).await.unwrap_err(), "have been revoked");
}

#[tokio::test]
async fn an_authority_can_be_replaced_without_a_restart() {
    let world = World::start().await;
    let old = world.clients.sign_name("a.test", "a");
    let connected = soon(world.client(old.clone()).connect()).await.unwrap();
    let successor = Authority::new("clients");
    std::fs::copy(successor.file(), world.clients.file()).unwrap();
    world.gateway.reload_certificates().unwrap();
    is_refused(
        &soon(world.client(old).connect()).await.unwrap_err(),
        "does not accept the certificate for a client",
    );
    soon(world.client(successor.sign_name("a.test", "a")).connect()).await.unwrap();
    soon(connected.functions()).await.unwrap();
}
