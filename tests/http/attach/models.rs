//! Which models there are, and which node gets a request.

use easyremote::attach::LocalServer;
use easyremote::{Gateway, Role};
use futures::future::join_all;

use crate::Site;
use crate::attach::model_server::ModelServer;
use crate::attach::{CHAT, JSON, chat, error_of, settled};
use crate::exchange::{get, request};

#[tokio::test]
async fn the_models_of_all_servers_are_one_list() {
    let site = Site::start().await;
    let bearer = site.bearer(Role::Client);
    let none = get(site.address(), "/v1/models", &[&*bearer]).await;
    assert_eq!((none.status, none.json()["data"].as_array().unwrap().len()), (200, 0));
    let (one, two) =
        (ModelServer::start(&["a", "b"]).await, ModelServer::start(&["b", "org/c:7b"]).await);
    let _one = site.attach("box-1", &one).await;
    let _two = site.attach("box-2", &two).await;
    let list = get(site.address(), "/v1/models", &[&*bearer]).await.json();
    let models: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!((list["object"].as_str(), models), (Some("list"), vec!["a", "b", "org/c:7b"]));
    assert_eq!(list["data"][1]["nodes"], serde_json::json!(["box-1", "box-2"]));
    let one = get(site.address(), "/v1/models/org/c:7b", &[&*bearer]).await.json();
    assert_eq!((&one["id"], &one["object"]), (&list["data"][2]["id"], &"model".into()));
    let missing = get(site.address(), "/v1/models/d", &[&*bearer]).await;
    assert_eq!(
        (missing.status, error_of(&missing)["code"].as_str()),
        (404, Some("model_not_found"))
    );
}

#[tokio::test]
async fn a_request_goes_to_the_server_that_has_its_model() {
    let site = Site::start().await;
    let (one, two) = (ModelServer::start(&["a"]).await, ModelServer::start(&["b"]).await);
    let _one = site.attach("box-1", &one).await;
    let _two = site.attach("box-2", &two).await;
    two.seen.tokens.add_permits(100);
    for _ in 0..5 {
        let answer = site.ask(CHAT, &[JSON], &chat("b", r#","max_tokens":3"#)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "t0 t1 t2 ");
    }
    assert_eq!((one.seen.asked().len(), two.seen.asked().len()), (0, 5));
    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n\
                --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--x--\r\n";
    let kind = "Content-Type: multipart/form-data; boundary=x";
    let answer = site.ask("POST /v1/audio/transcriptions", &[kind], form).await;
    assert_eq!((answer.status, answer.json()["length"].as_u64()), (200, Some(form.len() as u64)));
    assert_eq!(one.seen.asked().len(), 1);
}

/// Ollama lists models with their tag, and takes them without it.
#[tokio::test]
async fn a_model_without_its_tag_is_the_latest() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a:latest", "b:7b"]).await;
    let _box = site.attach("box", &server).await;
    server.seen.tokens.add_permits(100);
    for (model, status) in [("a", 200), ("a:latest", 200), ("b:7b", 200), ("b", 404), ("a:7b", 404)]
    {
        let answer = site.ask(CHAT, &[JSON], &chat(model, r#","max_tokens":1"#)).await;
        assert_eq!(answer.status, status, "{model}: {answer:?}");
    }
    // The server gets what the caller wrote.
    assert!(server.seen.asked()[0].body.starts_with(br#"{"model":"a","#));
}

#[tokio::test]
async fn two_servers_share_the_load_and_others_wait() {
    let site = Site::start().await;
    let (one, two) = (ModelServer::start(&["a"]).await, ModelServer::start(&["a"]).await);
    let server = |server: &ModelServer| LocalServer::new(server.url());
    let _one = site.attach_with("box-1", server(&one), |node| node.concurrency(2)).await;
    let _two = site.attach_with("box-2", server(&two), |node| node.concurrency(2)).await;
    let asking = join_all(
        (0..8).map(|_| async { site.ask(CHAT, &[JSON], &chat("a", r#","max_tokens":1"#)).await }),
    );
    let serving = async {
        let running =
            |server: &ModelServer| server.seen.running.load(std::sync::atomic::Ordering::SeqCst);
        common::until(|| running(&one) == 2 && running(&two) == 2).await;
        common::until(|| site.gateway.stats().waiting == 4).await;
        one.seen.tokens.add_permits(8);
        two.seen.tokens.add_permits(8);
    };
    let (answers, ()) = futures::join!(asking, serving);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let shares = (one.seen.asked().len(), two.seen.asked().len());
    assert!(shares.0 >= 2 && shares.1 >= 2 && shares.0 + shares.1 == 8, "{shares:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_anywhere_is_an_error_as_clients_read_it() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let nobody = site.ask(CHAT, &[JSON], &chat("a", "")).await;
    assert_eq!(nobody.status, 404);
    let _box = site.attach("box", &server).await;
    let missing = site.ask(CHAT, &[JSON], &chat("b", "")).await;
    let error = error_of(&missing);
    assert_eq!((missing.status, error["code"].as_str()), (404, Some("model_not_found")));
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!((&error["kind"], &error["executed"]), (&"NoNode".into(), &"No".into()));
    assert!(error["message"].as_str().unwrap().contains("`b`"), "{error}");
    // Beside it, what every problem has.
    let whole = missing.json();
    assert_eq!((&whole["kind"], &whole["status"]), (&"NoNode".into(), &404.into()));
    assert_eq!(missing.header("x-should-retry"), Some("false"));
    for (body, status) in
        [("{", 400), (r#"{"model":1}"#, 400), (r#"{"model":"a","model":"b"}"#, 400)]
    {
        let answer = site.ask(CHAT, &[JSON], body).await;
        assert_eq!(
            (answer.status, error_of(&answer)["kind"].as_str()),
            (status, Some("InvalidInput"))
        );
    }
    assert_eq!(server.seen.asked().len(), 0);
    let host = format!("Host: {}", site.address());
    for (bearer, status, kind) in [
        ("X: y", 401, "authentication_error"),
        ("Authorization: Bearer erbc_x", 401, "authentication_error"),
    ] {
        let answer = request(site.address(), "GET", "/v1/models", &[&host, bearer]).await;
        assert_eq!((answer.status, error_of(&answer)["type"].as_str()), (status, Some(kind)));
    }
}

#[tokio::test]
async fn rules_decide_who_may_use_which_server() {
    let site = Site::with(
        |gateway| {
            let gateway = gateway.token(Role::Client, "all").token(Role::Client, "one");
            let gateway = gateway.token(Role::Client, "none").may_call("none", ["add"]);
            gateway.may_call("all", ["*"]).may_call("one", ["easyremote.http:box"])
        },
        |options| options,
    )
    .await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    for (name, models, attached) in [("all", 200, 200), ("one", 403, 200), ("none", 403, 403)] {
        let bearer = site.bearer_of(Role::Client, name);
        let answer = get(site.address(), "/v1/models", &[&*bearer]).await;
        assert_eq!(answer.status, models, "{name}");
        let answer = get(site.address(), "/attach/box/v1/models", &[&*bearer]).await;
        assert_eq!(answer.status, attached, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_no_longer_asked() {
    let site = Site::start().await;
    let (one, two) = (ModelServer::start(&["a"]).await, ModelServer::start(&["a", "b"]).await);
    let _one = site.attach("box-1", &one).await;
    let _two = site.attach("box-2", &two).await;
    two.seen.tokens.add_permits(100);
    drop(one);
    // Whichever node is asked: a request that has reached no server goes on to the other one.
    for _ in 0..10 {
        let answer = site.ask(CHAT, &[JSON], &chat("a", r#","max_tokens":1"#)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    settled(&site, 2).await;
    drop(two);
    let answer = site.ask(CHAT, &[JSON], &chat("b", "")).await;
    assert_eq!(
        (answer.status, error_of(&answer)["executed"].as_str()),
        (503, Some("No")),
        "{answer:?}"
    );
}

/// The name is the library's: no function of a user can have it.
#[tokio::test]
async fn the_functions_behind_it_are_listed_as_all_others() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    let gateway: &Gateway = &site.gateway;
    let nodes = gateway.nodes();
    assert_eq!(nodes[0].functions, ["easyremote.http", "easyremote.http:box"]);
    assert_eq!(nodes[0].tags, ["model:a"]);
}
