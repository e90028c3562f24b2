//! Certificates of authorities: a gateway that is known by its name.

use std::net::UdpSocket;
use std::path::PathBuf;

use common::authority::Authority;
use common::offered::add;
use common::{Probe, SayOnDrop, soon};
use easyremote::auth::DialOptions;
use easyremote::client::ClientBuilder;
use easyremote::{Client, ErrorKind, Gateway, Node, Role, Ticket, functions, remote};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use tempfile::TempDir;

#[remote]
async fn wait(probe: u64) -> u64 {
    let said = SayOnDrop(probe, "dropped");
    said.say("started");
    std::future::pending().await
}

/// A gateway that shows a certificate for `localhost`, and what peers need to reach it by name.
async fn gateway((chain, key): &(PathBuf, PathBuf)) -> (Gateway, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let builder = common::gateway_at("127.0.0.1:0").state_dir(state.path()).certificate(chain, key);
    (soon(builder.serve()).await.unwrap(), state)
}

fn by_name(gateway: &Gateway, role: Role) -> Ticket {
    let address = format!("localhost:{}", gateway.local_addr().port());
    gateway.ticket(role).at(&address).unwrap().without_pin()
}

fn client(gateway: &Gateway, authority: &Authority) -> ClientBuilder {
    Client::builder(by_name(gateway, Role::Client))
        .dial(DialOptions::new().authority(authority.file()))
}

#[tokio::test]
async fn a_gateway_is_known_by_its_name_or_by_its_pin() {
    let authority = Authority::new("one");
    let (gateway, _state) = gateway(&authority.sign_name("localhost", "gw")).await;
    let node = Node::builder(by_name(&gateway, Role::Node))
        .dial(DialOptions::new().authority(authority.file()));
    let _node = soon(node.functions(functions![add]).serve()).await.unwrap();
    let named = soon(client(&gateway, &authority).connect()).await.unwrap();
    assert_eq!(soon(add::call(&named, 1, 2)).await.unwrap(), 3);
    let pinned = soon(Client::connect(gateway.ticket(Role::Client))).await.unwrap();
    assert_eq!(soon(add::call(&pinned, 1, 2)).await.unwrap(), 3);
    // As text, too.
    let text = by_name(&gateway, Role::Client).to_string();
    assert!(!text.contains("pin"), "{text}");
    soon(Client::builder(text).dial(DialOptions::new().authority(authority.file())).connect())
        .await
        .unwrap();
}

#[tokio::test]
async fn only_the_right_name_from_the_right_authority_is_trusted() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let mut expired = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let mut of_a_client = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    of_a_client.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    for (files, trusted) in [
        (one.sign(of_a_client, "of-a-client"), &one),
        (one.sign_name("localhost", "other-authority"), &two),
        (one.sign_name("elsewhere", "other-name"), &one),
        (one.sign(expired, "expired"), &one),
    ] {
        let (gateway, _state) = gateway(&files).await;
        let error = soon(client(&gateway, trusted).connect()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{files:?}");
        assert!(
            error.to_string().contains("its certificate is not valid for `localhost`"),
            "{error}"
        );
        assert_eq!(gateway.stats().clients, 0);
    }
    // The gateway's own key is signed by nobody.
    let state = tempfile::tempdir().unwrap();
    let plain =
        soon(common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve()).await.unwrap();
    let error = soon(client(&plain, &one).connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn without_an_authority_of_its_own_nothing_private_is_trusted() {
    let authority = Authority::new("one");
    let (gateway, _state) = gateway(&authority.sign_name("localhost", "gw")).await;
    let error = soon(Client::connect(by_name(&gateway, Role::Client))).await.unwrap_err();
    let (kind, text) = match cfg!(feature = "public-ca") {
        true => (ErrorKind::Unauthenticated, "its certificate is not valid for `localhost`"),
        false => (ErrorKind::InvalidInput, "pass a file of them to `authority`"),
    };
    assert_eq!(error.kind(), kind);
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_old_connections_stay() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = old.sign_name("localhost", "gw");
    let (gateway, _state) = gateway(&files).await;
    let node = Node::serve(gateway.ticket(Role::Node), functions![add, wait]);
    let _node = soon(node).await.unwrap();
    let connected = soon(client(&gateway, &old).connect()).await.unwrap();
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&connected, probe.key));
    assert_eq!(probe.next().await, "started");

    // What is not whole changes nothing.
    let renewed = new.sign_name("localhost", "gw");
    std::fs::copy(&renewed.0, &files.0).unwrap();
    let error = gateway.reload_certificates().unwrap_err();
    assert!(error.to_string().contains("is not the private key of the certificate"), "{error}");
    soon(client(&gateway, &old).connect()).await.unwrap();
    std::fs::copy(&renewed.1, &files.1).unwrap();
    gateway.reload_certificates().unwrap();

    let error = soon(client(&gateway, &old).connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let fresh = soon(client(&gateway, &new).connect()).await.unwrap();
    assert_eq!(soon(add::call(&fresh, 1, 2)).await.unwrap(), 3);
    assert_eq!(soon(add::call(&connected, 1, 2)).await.unwrap(), 3);
    assert!(!call.is_finished());
    assert!(probe.so_far().is_empty());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_when_the_role_starts() {
    let authority = Authority::new("one");
    let files = authority.sign_name("localhost", "gw");
    let state = tempfile::tempdir().unwrap();
    let builder = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    let error = soon(builder.certificate("/nowhere.pem", &files.1).serve()).await.unwrap_err();
    assert!(error.to_string().starts_with("`/nowhere.pem` cannot be read"), "{error}");

    let (gateway, _state) = gateway(&files).await;
    // No packet is needed to say so, nor any patience.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("localhost:{}", socket.local_addr().unwrap().port());
    let ticket = by_name(&gateway, Role::Client).at(&silent).unwrap();
    let client = Client::builder(ticket).dial(DialOptions::new().authority("/nowhere.pem"));
    let error = soon(client.connect()).await.unwrap_err();
    assert!(error.to_string().starts_with("`/nowhere.pem` cannot be read"), "{error}");
}
