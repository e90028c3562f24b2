//! Tickets: one stream without a bearer, for a browser's `EventSource`.

use common::soon;
use easyremote::{Context, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use crate::Site;
use crate::exchange::{Answer, get, post};

#[remote(stream)]
fn count(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

#[remote(stream)]
fn tenant(#[ctx] ctx: &Context) -> impl Stream<Item = Option<String>> {
    let tenant = ctx.metadata("tenant").map(str::to_owned);
    stream::iter([tenant]).map(|it| it)
}

const JSON: &str = "Content-Type: application/json";
const EVENTS: &str = "Accept: text/event-stream";

async fn served() -> (Site, Node) {
    let site = Site::with(
        |gateway| gateway.token(Role::Client, "web").token(Role::Client, "other"),
        |options| options.origins(["https://app.example.com"]),
    )
    .await;
    let ticket = site.gateway.ticket(Role::Node);
    let node = soon(Node::serve(ticket, functions![count, tenant])).await.unwrap();
    (site, node)
}

async fn issue(site: &Site, headers: &[&str], body: &Value) -> Answer {
    let bearer = site.bearer_of(Role::Client, "web");
    let headers = [&[&*bearer, JSON], headers].concat();
    post(site.address(), "/ticket", &headers, &body.to_string()).await
}

async fn url(site: &Site, headers: &[&str], body: &Value) -> String {
    let answer = issue(site, headers, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["expires_in"], 60);
    let url = answer["url"].as_str().unwrap();
    assert!(url.ends_with(answer["ticket"].as_str().unwrap()));
    url.to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_stream() {
    let (site, _node) = served().await;
    let at = site.address();
    let asked = json!({"function": "count", "arguments": [9], "query": "every=3&skip=1"});
    let url = url(&site, &[], &asked).await;
    let first = get(at, &url, &[EVENTS]).await;
    assert_eq!(first.status, 200, "{first:?}");
    let items = ["data: 3\n\n", "data: 6\n\n", "event: end\ndata: {\"items\":2}\n\n"];
    assert!(items.iter().all(|item| first.body.contains(item)), "{first:?}");
    assert_eq!(get(at, &url, &[EVENTS]).await.status, 401);
}

#[tokio::test]
async fn options_are_those_of_the_request_for_the_ticket() {
    let (site, _node) = served().await;
    let asked = json!({"function": "tenant"});
    let url = url(&site, &["Easyremote-Metadata-Tenant: acme"], &asked).await;
    let read = get(site.address(), &url, &["Easyremote-Metadata-Tenant: evil"]).await;
    assert!(read.body.contains("{\"item\":\"acme\"}"), "{read:?}");
}

/// Each is spent by a wrong use as well: who guesses has one guess.
#[tokio::test]
async fn a_ticket_opens_nothing_else() {
    let (site, _node) = served().await;
    let at = site.address();
    let asked = json!({"function": "count", "arguments": [3]});
    let page = "Origin: https://app.example.com";
    for (issued, change, used) in [
        (None, ("/stream/count", "/stream/tenant"), None),
        (None, ("/stream/count", "/call/count"), None),
        (None, ("/stream/count", "/nodes"), None),
        (None, ("ticket=", "ticket=x"), None),
        (None, ("ticket=", "take=9&ticket="), None),
        (None, ("ticket=", "Ticket="), None),
        (None, ("?", "?"), Some(page)),
        (Some(page), ("?", "?"), None),
    ] {
        let url = url(&site, issued.as_slice(), &asked).await.replace(change.0, change.1);
        let headers: Vec<_> = used.into_iter().collect();
        assert_eq!(get(at, &url, &headers).await.status, 401, "{change:?}");
    }
    let url = url(&site, &[page], &asked).await;
    assert_eq!(get(at, &url, &[page]).await.status, 200);
}

#[tokio::test]
async fn a_ticket_ends_with_its_bearer() {
    let (site, _node) = served().await;
    let at = site.address();
    let asked = json!({"function": "count", "arguments": [3]});
    let before = url(&site, &[], &asked).await;
    site.gateway.rotate_bearer(Role::Client, "web").unwrap();
    assert_eq!(get(at, &before, &[]).await.status, 401);
    let before = url(&site, &[], &asked).await;
    site.gateway.revoke(Role::Client, "web");
    assert_eq!(get(at, &before, &[]).await.status, 401);
}

#[tokio::test]
async fn what_makes_no_sense_gets_no_ticket() {
    let (site, _node) = served().await;
    for odd in [
        json!({}),
        json!([]),
        json!({"function": 1}),
        json!({"function": "count", "arguments": 1}),
        json!({"function": "count", "query": "take=x"}),
        json!({"function": "count", "query": "arguments=[1]"}),
        json!({"function": "count", "other": 1}),
    ] {
        assert_eq!(issue(&site, &[], &odd).await.status, 400, "{odd}");
    }
    let large = json!({"function": "count", "arguments": ["x".repeat(70_000)]});
    assert_eq!(issue(&site, &[], &large).await.status, 413);
    let bare = post(site.address(), "/ticket", &[JSON], "{\"function\":\"count\"}").await;
    assert_eq!(bare.status, 401);
    // As many of one identity as may wait to be used.
    let asked = json!({"function": "count", "arguments": [3]});
    let mut given = 0;
    while issue(&site, &[], &asked).await.status == 200 {
        given += 1;
    }
    assert_eq!(given, 64);
    let other = site.bearer_of(Role::Client, "other");
    let answer = post(site.address(), "/ticket", &[&other, JSON], &asked.to_string()).await;
    assert_eq!(answer.status, 200);
}
