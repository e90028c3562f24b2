//! TLS, and what must not go without it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use common::authority::Authority;
use common::soon;
use easyremote::http::HttpOptions;
use easyremote::{ErrorKind, Role};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Site;
use crate::exchange::{Answer, on};

/// A request over TLS, by someone who trusts `authority`.
async fn get(
    at: SocketAddr,
    authority: &Authority,
    path: &str,
    bearer: &str,
) -> std::io::Result<Answer> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(at).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let host = format!("localhost:{}", at.port());
    let text =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\nConnection: close\r\n\r\n");
    on(stream, text.as_bytes()).await
}

fn options(files: &(PathBuf, PathBuf)) -> HttpOptions {
    HttpOptions::new("127.0.0.1:0").certificate(&files.0, &files.1)
}

#[tokio::test]
async fn a_certificate_is_shown_and_renewed() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = old.sign_name("localhost", "web");
    let site = Site::start().await;
    let http = soon(site.gateway.serve_http(options(&files))).await.unwrap();
    let (at, bearer) = (http.local_addr(), site.bearer(Role::Admin));
    let answer = soon(get(at, &old, "/nodes", &bearer)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    soon(get(at, &new, "/nodes", &bearer)).await.unwrap_err();
    let plain = crate::exchange::send(at, b"GET /health HTTP/1.1\r\n\r\n").await;
    assert!(plain.is_err(), "{plain:?}");

    let renewed = new.sign_name("localhost", "web");
    std::fs::copy(&renewed.0, &files.0).unwrap();
    let error = http.reload_certificate().unwrap_err();
    assert!(error.to_string().contains("is not the private key"), "{error}");
    assert_eq!(soon(get(at, &old, "/health", &bearer)).await.unwrap().status, 200);
    std::fs::copy(&renewed.1, &files.1).unwrap();
    http.reload_certificate().unwrap();
    assert_eq!(soon(get(at, &new, "/health", &bearer)).await.unwrap().status, 200);
    soon(get(at, &old, "/health", &bearer)).await.unwrap_err();
}

#[tokio::test]
async fn bearers_do_not_travel_in_the_clear() {
    let site = Site::start().await;
    for address in ["0.0.0.0:0", "[::]:0"] {
        let error = soon(site.gateway.serve_http(HttpOptions::new(address))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("in the clear"), "{error}");
    }
    let authority = Authority::new("one");
    let files = authority.sign_name("localhost", "web");
    let everywhere = HttpOptions::new("0.0.0.0:0").certificate(&files.0, &files.1);
    let http = soon(site.gateway.serve_http(everywhere)).await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], http.local_addr().port()));
    assert_eq!(soon(get(at, &authority, "/health", "A: b")).await.unwrap().status, 200);
    let nowhere = HttpOptions::new("127.0.0.1:0").certificate("/nowhere.pem", "/nowhere.key");
    let error = soon(site.gateway.serve_http(nowhere)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
}
