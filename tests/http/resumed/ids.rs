//! What an id is good for: one stream, for the identity that has opened it.

use super::*;

#[tokio::test]
async fn an_id_is_good_for_its_identity_and_its_function_only() {
    let place = Place::start().await;
    let gate = Gate::closed();
    let path = format!("/stream/gated?arguments=[{},1]&resume=1", gate.key);
    let mut events = place.ask(&path, None).await;
    events.next().await;
    let id = events.last();
    let other = "/stream/counted?arguments=[1,1,1]&resume=1";
    for (identity, path, id) in [
        ("other", path.as_str(), id.clone()),
        ("web", other, id.clone()),
        ("web", &path, format!("2{}", &id[1..])),
        ("web", &path, format!("{id}A")),
        ("web", &path, id[..id.len() - 1].to_owned()),
        ("web", &path, "7".to_owned()),
        ("web", &path, "x".repeat(4_000)),
    ] {
        let (status, problem) = place.refused(path, identity, &id).await;
        assert_eq!((status, &problem["kind"]), (403, &json!("PermissionDenied")), "{problem}");
        assert!(!problem["detail"].as_str().unwrap().contains(&id));
    }
    // Another gateway has another key.
    let stranger = Place::start().await;
    assert_eq!(stranger.refused(&path, "web", &id).await.0, 403);
    // A revoked identity has no streams.
    let (at, text) = place.request(&path, "web", &format!("Last-Event-ID: {id}\r\n"));
    place.gateway().revoke(Role::Client, "web");
    let mut refused = Events::open(at, &text).await;
    refused.whole().await;
    assert_eq!(refused.status(), 401);
    // The stream itself has felt nothing of all this, until then.
    let (all, _) = events.dispatched("");
    assert_eq!(all.len(), 1);
}

/// Two that read one stream do not take it from each other by turns.
#[tokio::test]
async fn whoever_asks_last_reads() {
    let place = Place::start().await;
    let gate = Gate::closed();
    let path = format!("/stream/gated?arguments=[{},1]&resume=1", gate.key);
    let mut first = place.ask(&path, None).await;
    first.next().await;
    let mut second = place.ask(&path, Some(&first.last())).await;
    let end = first.next().await;
    assert_eq!(end.name, "problem", "{end:?}");
    let problem: Value = serde_json::from_str(&end.data).unwrap();
    assert_eq!(problem["kind"], "Cancelled");
    gate.open();
    for n in 1..20 {
        assert_eq!(second.next().await.data, n.to_string());
    }
    // The one that was replaced asks no more.
    let mut answer = place.ask(&path, Some(&first.last())).await;
    answer.whole().await;
    assert_eq!(answer.status(), 204);
}

#[tokio::test]
async fn what_cannot_continue_is_refused() {
    let place = Place::start().await;
    let path = "/stream/counted?arguments=[1,1,1]&resume=1";
    let (at, text) = place.request(path, "web", "");
    let lines = text.replace("text/event-stream", "application/x-ndjson");
    let odd = text.replace("resume=1", "resume=2");
    for (text, status) in [(text, 200), (lines, 400), (odd, 400)] {
        let mut events = Events::open(at, &text).await;
        events.whole().await;
        assert_eq!(events.status(), status, "{text}");
    }
    let (at, text) = place.request(path, "web", "Last-Event-ID: 1\r\nLast-Event-ID: 2\r\n");
    let mut events = Events::open(at, &text).await;
    events.whole().await;
    assert_eq!(events.status(), 400);
}

/// A ticket, which an `EventSource` shows again when it connects again.
#[tokio::test]
async fn a_ticket_opens_one_stream_and_continues_only_that() {
    let mut place = Place::start().await;
    let gate = Gate::closed();
    let mut paths = Vec::new();
    for _ in 0..2 {
        let asked = json!({"function": "gated", "arguments": [gate.key, 1], "query": "resume=1"});
        let (at, text) = place.request("/ticket", "web", "Content-Type: application/json\r\n");
        let (text, body) = (text.replace("GET ", "POST "), asked.to_string());
        let text = text.trim_end().to_owned();
        let length = body.len();
        let text = format!("{text}\r\nContent-Length: {length}\r\n\r\n{body}");
        let mut answer = Events::open(at, &text).await;
        answer.whole().await;
        let issued: Value = serde_json::from_slice(&answer.body()).unwrap();
        paths.push(issued["url"].as_str().unwrap().to_owned());
    }
    let mut ids = Vec::new();
    for path in &paths {
        let mut events = place.show(path, "").await;
        assert_eq!(events.next().await.data, "0");
        ids.push(events.last());
    }
    place.replace_gateway().await;
    let bearers = format!("/stream/gated?arguments=[{},1]&resume=1", gate.key);
    let mut by_bearer = place.ask(&bearers, None).await;
    by_bearer.next().await;
    let last = |id: &str| format!("Last-Event-ID: {id}\r\n");
    for (path, more) in [
        (&*paths[0], String::new()),
        (&paths[0], last(&ids[1])),
        (&paths[1], last(&ids[0])),
        (&paths[0].replace("gated", "counted"), last(&ids[0])),
        (&paths[0], last(&by_bearer.last())),
        (&paths[0], last(&format!("9{}", &ids[0][1..]))),
        ("/stream/gated?ticket=", last(&ids[0])),
    ] {
        let mut refused = place.show(path, &more).await;
        refused.whole().await;
        assert_eq!(refused.status(), 401, "{path} {more}");
    }
    assert_eq!(place.refused(&bearers, "web", &ids[0]).await.0, 403);
    gate.open();
    for (path, id) in paths.iter().zip(&ids) {
        let mut events = place.show(path, &last(id)).await;
        for n in 1..5 {
            assert_eq!(events.next().await.data, n.to_string());
        }
        let mut events = place.show(path, &last(&events.last())).await;
        assert_ne!(events.next().await.data, "0");
    }
    // The bearer that it was asked for with ends it.
    place.gateway().rotate_bearer(Role::Client, "web").unwrap();
    let mut refused = place.show(&paths[0], &last(&ids[0])).await;
    refused.whole().await;
    assert_eq!(refused.status(), 401);
}
