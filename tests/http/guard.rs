//! Who may ask: bearers, `Host` and `Origin`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::soon;
use easyremote::auth::Bearer;
use easyremote::http::HttpOptions;
use easyremote::{Client, ErrorKind, Gateway, Role, Ticket};

use crate::Site;
use crate::exchange::{Answer, get, request};

/// What each kind of asker gets at each path.
#[tokio::test]
async fn each_path_is_for_those_whom_it_concerns() {
    let site = Site::with(
        |gateway| {
            let gateway = gateway.token(Role::Client, "web").token(Role::Client, "monitor");
            gateway.may_call("web", ["*"]).may_call("monitor", ["easyremote.stats"])
        },
        |options| options,
    )
    .await;
    let at = site.address();
    let own = Bearer::of_this_user(Role::Client, Some(site.state.path())).unwrap();
    let none = String::new();
    for (asker, lists, overseer) in [
        (&none, 401, 401),
        (&site.bearer_of(Role::Client, "web"), 200, 403),
        (&site.bearer_of(Role::Client, "monitor"), 200, 200),
        (&site.bearer(Role::Admin), 200, 200),
        (&format!("Authorization: bearer {own}"), 200, 403),
    ] {
        let headers: &[&str] = if asker.is_empty() { &[] } else { &[asker] };
        for (path, expected) in [
            ("/health", 200),
            ("/functions", lists),
            ("/nodes", overseer),
            ("/streams", overseer),
            ("/stats", overseer),
            ("/metrics", overseer),
            ("/nothing", if asker.is_empty() { 401 } else { 404 }),
            ("/health/", if asker.is_empty() { 401 } else { 404 }),
        ] {
            let answer = get(at, path, headers).await;
            assert_eq!(answer.status, expected, "{asker} {path}: {answer:?}");
            is_safe(&answer);
        }
        if !asker.is_empty() {
            let host = format!("Host: {at}");
            let answer = request(at, "POST", "/functions", &[&host, asker]).await;
            assert_eq!(answer.status, 405);
        }
    }
}

/// What every answer says to browsers.
fn is_safe(answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(answer.header("set-cookie").is_none());
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status);
        assert_eq!(problem["executed"], "No");
    }
    assert_eq!(answer.header("www-authenticate").is_some(), answer.status == 401);
}

async fn is_refused(site: &Site, shown: &str) -> String {
    let header = format!("Authorization: {shown}");
    let answer = get(site.address(), "/functions", &[&header]).await;
    assert_eq!(answer.status, 401, "{shown}: {answer:?}");
    answer.json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_no_valid_bearer_is_refused() {
    let (site, other) = (Site::start().await, Site::start().await);
    let valid = site.gateway.bearer(Role::Client, "default").unwrap().to_string();
    let foreign = other.gateway.bearer(Role::Client, "default").unwrap();
    let ticket = site.gateway.ticket(Role::Client).to_string();
    let token = ticket.split_once("token=").unwrap().1;
    for shown in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        valid.clone(),
        format!("Basic {valid}"),
        format!("Bearer {foreign}"),
        format!("Bearer {}", valid.replace("erbc_", "erba_")),
        format!("Bearer {}", &valid[..valid.len() - 1]),
        format!("Bearer {valid}, Bearer {valid}"),
    ] {
        is_refused(&site, &shown).await;
    }
    for quic in [token, &ticket] {
        let detail = is_refused(&site, &format!("Bearer {quic}")).await;
        assert!(detail.contains("works over QUIC only"), "{detail}");
    }
    let twice = site.bearer(Role::Client);
    let answer = get(site.address(), "/functions", &[&twice, &twice]).await;
    assert_eq!(answer.status, 401);
    for role in [Role::Node, Role::Client] {
        assert!(
            site.gateway.bearer(role, if role == Role::Node { "default" } else { "x" }).is_err()
        );
    }
}

/// Every part of a bearer, taken for a token, opens no session.
#[tokio::test]
async fn no_bearer_opens_a_session() {
    let site = Site::start().await;
    let bearer = site.gateway.bearer(Role::Client, "default").unwrap().to_string();
    let bytes = URL_SAFE_NO_PAD.decode(&bearer["erbc_".len()..]).unwrap();
    let ticket = site.gateway.ticket(Role::Client).to_string();
    let (address, _) = ticket.split_once("token=").unwrap();
    for secret in [&bytes[8..], &bytes[..32]] {
        let text = format!("{address}token=erc_{}", URL_SAFE_NO_PAD.encode(secret));
        let forged: Ticket = text.parse().unwrap();
        let error = soon(Client::connect(forged)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    }
}

#[tokio::test]
async fn what_is_revoked_or_replaced_is_refused_at_once() {
    let site = Site::with(|gateway| gateway.token(Role::Client, "web"), |options| options).await;
    let at = site.address();
    let status = async |bearer: &str| get(at, "/functions", &[bearer]).await.status;
    let old = site.bearer_of(Role::Client, "web");
    assert_eq!(status(&old).await, 200);
    let new = site.gateway.rotate_bearer(Role::Client, "web").unwrap();
    let new = format!("Authorization: Bearer {new}");
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
    assert_eq!(site.bearer_of(Role::Client, "web"), new);
    // Tokens stay as they are.
    let ticket = site.gateway.ticket_of(Role::Client, "web").unwrap();
    let client = soon(Client::connect(ticket)).await.unwrap();
    site.gateway.revoke(Role::Client, "web");
    assert_eq!(status(&new).await, 401);
    drop(client);

    // A tool of the same user replaces a bearer while the gateway runs.
    let own = || Bearer::of_this_user(Role::Admin, Some(site.state.path())).unwrap();
    let old = format!("Authorization: Bearer {}", own());
    assert_eq!(status(&old).await, 200);
    let other = common::gateway_at("127.0.0.1:0").state_dir(site.state.path());
    let other: Gateway = soon(other.serve()).await.unwrap();
    other.rotate_bearer(Role::Admin, "default").unwrap();
    soon(async { while status(&old).await == 200 {} }).await;
    assert_eq!(status(&format!("Authorization: Bearer {}", own())).await, 200);
}

#[tokio::test]
async fn only_hosts_of_the_server_are_answered() {
    let hosts = ["GW.example.com:8443", "plain.example.com"];
    let site = Site::with(|gateway| gateway, |options| options.hosts(hosts)).await;
    let (at, port) = (site.address(), site.address().port());
    let fine = [
        at.to_string(),
        format!("localhost:{port}"),
        format!("LocalHost:{port}"),
        format!("[::1]:{port}"),
        "gw.example.com:8443".to_owned(),
        "gw.EXAMPLE.com:8443".to_owned(),
        "plain.example.com".to_owned(),
    ];
    for host in &fine {
        let answer = request(at, "GET", "/health", &[&format!("Host: {host}")]).await;
        assert_eq!(answer.status, 200, "{host}");
        let uri = format!("http://{host}/health");
        let answer = request(at, "GET", &uri, &[&format!("Host: {host}")]).await;
        assert_eq!(answer.status, 200, "{uri}");
    }
    let other = port ^ 1;
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "localhost".to_owned(),
        format!("localhost:{other}"),
        format!("localhost.:{port}"),
        format!("127.0.0.2:{port}"),
        format!("127.1:{port}"),
        format!("0.0.0.0:{port}"),
        format!("{at}.evil.example"),
        "gw.example.com".to_owned(),
        format!("gw.example.com:{port}"),
        format!("user@{at}"),
        String::new(),
    ] {
        let answer = request(at, "GET", "/health", &[&format!("Host: {host}")]).await;
        assert!([400, 421].contains(&answer.status), "{host}: {answer:?}");
        let uri = format!("http://evil.example:{port}/health");
        let answer = request(at, "GET", &uri, &[&format!("Host: {at}")]).await;
        assert!([400, 421].contains(&answer.status), "{uri}: {answer:?}");
    }
    let host = format!("Host: {at}");
    for headers in [&[][..], &[&*host, &host], &[&host, "Host: evil.example"]] {
        let answer = request(at, "GET", "/health", headers).await;
        assert!([400, 421].contains(&answer.status), "{headers:?}: {answer:?}");
    }
}

#[tokio::test]
async fn only_pages_that_are_listed_make_requests() {
    let app = "https://App.example.com";
    let site = Site::with(|gateway| gateway, |options| options.origins([app])).await;
    let (at, bearer) = (site.address(), site.bearer(Role::Client));
    let own = format!("http://{at}");
    for (origin, status) in [
        (&*own, 200),
        ("https://app.example.com", 200),
        ("https://app.example.com:444", 403),
        ("http://app.example.com", 403),
        ("https://evil.example", 403),
        ("https://app.example.com.evil.example", 403),
        (&format!("https://{at}"), 403),
        ("null", 403),
        ("", 403),
    ] {
        let named = format!("Origin: {origin}");
        let answer = get(at, "/functions", &[&bearer, &named]).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        // The page may read the answer only if it is listed.
        let listed = (status == 200 && origin != own).then_some(origin);
        assert_eq!(answer.header("access-control-allow-origin"), listed, "{origin}");
        assert!(answer.header("vary").unwrap().contains("origin"));
        // What the browser asks first: without a bearer.
        let wants = "Access-Control-Request-Headers: Authorization,easyremote-metadata-a, x-other";
        let method = "Access-Control-Request-Method: POST";
        let headers = [&*format!("Host: {at}"), &named, method, wants];
        let asked = request(at, "OPTIONS", "/functions", &headers).await;
        assert_eq!(asked.status == 204, listed.is_some(), "{origin}: {asked:?}");
        let allowed = asked.header("access-control-allow-headers");
        let expected = listed.map(|_| "authorization, easyremote-metadata-a");
        assert_eq!(allowed, expected, "{origin}");
    }
    let twice = format!("Origin: {own}");
    assert_eq!(get(at, "/functions", &[&bearer, &twice, &twice]).await.status, 403);
}

/// A proxy is known by its address, and says who the client is.
#[tokio::test]
async fn others_than_the_proxy_are_not_served() {
    let elsewhere = "10.1.2.3".parse().unwrap();
    let site = Site::with(|gateway| gateway, |options| options.behind_proxy([elsewhere])).await;
    let refused = crate::exchange::send(site.address(), b"GET /health HTTP/1.1\r\n\r\n").await;
    refused.unwrap_err();
    let proxy = "127.0.0.1".parse().unwrap();
    let behind = HttpOptions::new("127.0.0.1:0").behind_proxy([proxy]);
    let http = soon(site.gateway.serve_http(behind)).await.unwrap();
    let at = http.local_addr();
    let origin = format!("Origin: https://{at}");
    let headers = [&*site.bearer(Role::Client), &origin, "X-Forwarded-For: 1.2.3.4, 5.6.7.8"];
    assert_eq!(get(at, "/functions", &headers).await.status, 200, "the proxy ends TLS");
}
