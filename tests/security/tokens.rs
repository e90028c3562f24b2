//! Tokens: several for a role, replaced and revoked while the gateway runs; and what admins may.

use std::time::Duration;

use common::offered::add;
use common::proxy::{Faults, Proxy, Way};
use common::{Probe, SayOnDrop, World, found_in, say, soon, until};
use easyremote::{
    CallError, Client, Context, Error, ErrorKind, Executed, Gateway, Node, Role, functions, remote,
};
use futures::StreamExt;
use tokio::time::timeout;

#[remote]
fn caller(#[ctx] ctx: &Context) -> (String, String) {
    let caller = ctx.caller();
    (format!("{:?}", caller.role), caller.identity.clone())
}

#[remote]
async fn forever(probe: u64) {
    let dropped = SayOnDrop(probe, "dropped");
    dropped.say("started");
    std::future::pending::<()>().await;
}

#[remote(stream)]
fn endless(probe: u64) -> impl futures::Stream<Item = u64> {
    say(probe, "started");
    futures::stream::iter(0..)
}

/// Calls as the node that it runs on.
#[remote]
async fn nested(#[ctx] ctx: &Context) -> Result<i64, String> {
    add::call(&ctx.client(), 1, 2).await.map_err(|error| format!("{:?}", error.kind()))
}

async fn gateway(tokens: &[(Role, &str)]) -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let builder = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    let builder = tokens.iter().fold(builder, |builder, (role, name)| builder.token(*role, *name));
    (soon(builder.serve()).await.unwrap(), state)
}

async fn refused(error: Error) {
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));
    assert!(error.to_string().contains("or no longer valid"), "{error}");
}

#[tokio::test]
async fn the_old_and_the_new_token_are_valid_side_by_side() {
    let (gateway, _state) = gateway(&[(Role::Client, "ci#1")]).await;
    let _node = soon(Node::serve(gateway.ticket(Role::Node), functions![caller])).await.unwrap();
    let old = gateway.ticket_of(Role::Client, "ci#1").unwrap();
    let new = gateway.add_token(Role::Client, "ci#2").unwrap();
    assert_ne!(old, new);
    assert_eq!(gateway.tokens(Role::Client), ["ci#1", "ci#2"]);
    assert_eq!(gateway.ticket(Role::Client), new, "the newest is handed out");
    for ticket in [&old, &new] {
        let client = soon(Client::connect(ticket.clone())).await.unwrap();
        let (role, identity) = soon(caller::call(&client)).await.unwrap();
        assert_eq!((role.as_str(), identity.as_str()), ("Client", "ci"));
    }
    assert!(gateway.revoke(Role::Client, "ci#1"));
    refused(soon(Client::connect(old)).await.unwrap_err()).await;
    soon(Client::connect(new)).await.unwrap();
    assert!(!gateway.revoke(Role::Client, "ci#1"), "there is none any more");
    assert_eq!(gateway.ticket_of(Role::Client, "ci#1"), None);
    assert_eq!(gateway.stats().refused, 1);
}

#[tokio::test]
async fn naming_a_token_takes_the_place_of_the_default_one() {
    let (first, state) = gateway(&[]).await;
    let default = first.ticket(Role::Client);
    assert_eq!(first.tokens(Role::Client), ["default"]);
    soon(Client::connect(default.clone())).await.unwrap();
    let address = first.local_addr();
    soon(first.shutdown()).await;
    drop(first);
    let builder = common::gateway_at(address).state_dir(state.path()).token(Role::Client, "ci");
    let second = soon(builder.serve()).await.unwrap();
    refused(soon(Client::connect(default)).await.unwrap_err()).await;
    // Those of the gateway's own user need none.
    let local = Client::builder(address).dial(found_in(state.path())).connect();
    soon(local).await.unwrap();
    assert_eq!(second.tokens(Role::Node), ["default"]);
}

#[tokio::test]
async fn the_same_name_gives_the_same_token_after_a_restart() {
    let (first, state) = gateway(&[(Role::Client, "ci")]).await;
    let ticket = first.ticket(Role::Client);
    let address = first.local_addr();
    soon(first.shutdown()).await;
    drop(first);
    let builder = common::gateway_at(address).state_dir(state.path()).token(Role::Client, "ci");
    let second = soon(builder.serve()).await.unwrap();
    assert_eq!(second.ticket(Role::Client), ticket);
    soon(Client::connect(ticket)).await.unwrap();
}

#[tokio::test]
async fn revoking_ends_live_sessions_and_keeps_them_out() {
    let (gateway, _state) = gateway(&[(Role::Client, "a"), (Role::Client, "b")]).await;
    let functions = functions![add, forever, endless];
    let _node = soon(Node::serve(gateway.ticket(Role::Node), functions)).await.unwrap();
    let [a, b] = ["a", "b"].map(|name| gateway.ticket_of(Role::Client, name).unwrap());
    let (client, other) = (soon(Client::connect(a)).await, soon(Client::connect(b)).await);
    let (client, other) = (client.unwrap(), other.unwrap());
    let mut probe = Probe::new();
    let call = tokio::spawn(forever::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let mut stream = endless::call(&client, probe.key);
    assert_eq!(soon(stream.next()).await.unwrap().unwrap(), 0);
    assert_eq!(probe.next().await, "started");

    assert!(gateway.revoke(Role::Client, "a"));
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("revoked"), "{error}");
    let last = soon(async {
        loop {
            if let Err(error) = stream.next().await.unwrap() {
                break error;
            }
        }
    });
    assert_eq!(last.await.kind(), ErrorKind::Unauthenticated);
    assert_eq!(probe.next().await, "dropped");
    until(|| gateway.stats().clients == 1).await;

    // It fails at once, without a word to the gateway, which is not to be asked again and again.
    for _ in 0..100 {
        let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));
    }
    assert_eq!(gateway.stats().refused, 0, "it has not even asked once");
    assert_eq!(soon(add::call(&other, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn who_is_expelled_hears_of_it_where_no_more_may_be_under_way() {
    let (gateway, _state) = gateway(&[(Role::Client, "a")]).await;
    let _node = soon(Node::serve(gateway.ticket(Role::Node), functions![endless])).await.unwrap();
    let proxy = Proxy::start(gateway.local_addr(), 0);
    let [direct, proxied] = [gateway.local_addr(), proxy.address()].map(|a| a.to_string());
    let ticket = gateway.ticket_of(Role::Client, "a").unwrap().to_string();
    let client = soon(Client::connect(ticket.replace(&direct, &proxied))).await.unwrap();
    let mut stream = endless::call(&client, Probe::new().key);
    assert_eq!(soon(stream.next()).await.unwrap().unwrap(), 0);

    // What the client acknowledges is lost: the gateway soon waits for that.
    proxy.set(Way::ToGateway, Faults { blocked: true, ..Faults::default() });
    while let Ok(item) = timeout(Duration::from_secs(1), stream.next()).await {
        item.unwrap().unwrap();
    }
    assert!(gateway.revoke(Role::Client, "a"));
    let error = soon(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
}

#[tokio::test]
async fn a_node_whose_token_is_revoked_gets_no_more_calls() {
    let (gateway, _state) = gateway(&[(Role::Node, "bad"), (Role::Node, "good")]).await;
    let [bad, good] = ["bad", "good"].map(|name| gateway.ticket_of(Role::Node, name).unwrap());
    let bad = soon(Node::serve(bad, functions![forever, nested])).await.unwrap();
    let _good = soon(Node::serve(good, functions![add])).await.unwrap();
    let client = soon(Client::connect(gateway.ticket(Role::Client))).await.unwrap();
    assert_eq!(soon(nested::call(&client)).await.unwrap(), 3);
    let mut probe = Probe::new();
    let call = tokio::spawn(forever::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");

    assert!(gateway.revoke(Role::Node, "bad"));
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    until(|| gateway.stats().nodes == 1 && bad.stats().gateways == 0).await;
    let error = soon(nested::call(&client)).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::NoNode);
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_token_is_good_for_its_role_only() {
    let (gateway, _state) = gateway(&[]).await;
    let swap =
        |role: Role, from: &str, to: &str| gateway.ticket(role).to_string().replace(from, to);
    for forged in [swap(Role::Node, "ern_", "erc_"), swap(Role::Client, "erc_", "era_")] {
        refused(soon(Client::connect(forged)).await.unwrap_err()).await;
    }
    let forged = swap(Role::Admin, "era_", "ern_");
    refused(soon(Node::serve(forged, functions![add])).await.unwrap_err()).await;
    let error = soon(Node::serve(gateway.ticket(Role::Admin), functions![add])).await.unwrap_err();
    assert!(error.to_string().ends_with("is one for an admin, and this is a node"), "{error}");
    let client = Client::builder(gateway.ticket(Role::Client)).admin().connect();
    let error = soon(client).await.unwrap_err();
    assert!(error.to_string().ends_with("is one for a client, and this is an admin"), "{error}");
    assert_eq!(gateway.stats().clients + gateway.stats().nodes, 0);
}

#[tokio::test]
async fn an_admin_may_call_and_ask_for_statistics_and_others_may_not() {
    let world = World::start().await;
    let _node = world.node(functions![caller]).await;
    let admin = soon(Client::connect(world.gateway.ticket(Role::Admin))).await.unwrap();
    let (role, identity) = soon(caller::call(&admin)).await.unwrap();
    assert_eq!((role.as_str(), identity.as_str()), ("Admin", "default"));
    let stats = soon(admin.gateway_stats()).await.unwrap();
    assert_eq!((stats.nodes, stats.clients), (1, 1));
    let local = soon(world.client_builder().admin().connect()).await.unwrap();
    assert_eq!(soon(local.gateway_stats()).await.unwrap().clients, 2);

    let client = world.client().await;
    let error = soon(client.gateway_stats()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::No));
    assert!(error.to_string().contains("is for admins"), "{error}");
}

#[tokio::test]
async fn what_is_no_name_is_refused_when_the_gateway_starts() {
    let state = tempfile::tempdir().unwrap();
    let builder = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    for names in [&["a b"][..], &["#1"], &["a", "a"]] {
        let builder = names.iter().fold(builder.clone(), |b, name| b.token(Role::Node, *name));
        assert_eq!(soon(builder.serve()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_node_that_is_refused_at_its_start_does_not_ask_again_at_once() {
    let (there, _state) = gateway(&[]).await;
    let (refusing, _other) = gateway(&[(Role::Node, "bad"), (Role::Node, "good")]).await;
    let bad = refusing.ticket_of(Role::Node, "bad").unwrap();
    assert!(refusing.revoke(Role::Node, "bad"));
    let node = Node::serve(vec![there.ticket(Role::Node), bad], functions![add]);
    let node = soon(node).await.unwrap();
    assert_eq!((node.stats().gateways, refusing.stats().refused), (1, 1));
    // Meanwhile it would have been there again.
    for _ in 0..3 {
        soon(Client::connect(refusing.ticket(Role::Client))).await.unwrap();
    }
    assert_eq!(refusing.stats().refused, 1);
}

/// The same gateway again: at the address of `first`, with its key and these tokens.
async fn restarted(first: Gateway, state: &tempfile::TempDir, tokens: &[(Role, &str)]) -> Gateway {
    let address = first.local_addr();
    soon(first.shutdown()).await;
    drop(first);
    let builder = common::gateway_at(address).state_dir(state.path());
    let builder = tokens.iter().fold(builder, |builder, (role, name)| builder.token(*role, *name));
    soon(builder.serve()).await.unwrap()
}

#[tokio::test]
async fn what_is_revoked_stays_so_after_a_restart_until_it_is_allowed_again() {
    let named = [(Role::Client, "ci#1"), (Role::Client, "ci#2"), (Role::Admin, "root")];
    // Named or not, and of one role or of all.
    for (tokens, revoked) in [
        (&[][..], &[(Role::Client, "default")][..]),
        (&[], &[(Role::Node, "default"), (Role::Client, "default"), (Role::Admin, "default")]),
        (&named, &[(Role::Client, "ci#1")]),
        (&named, &[(Role::Client, "ci#2"), (Role::Client, "ci#1"), (Role::Node, "default")]),
    ] {
        let (mut gateway, state) = gateway(tokens).await;
        let tickets: Vec<_> = revoked
            .iter()
            .map(|(role, name)| (*role, *name, gateway.ticket_of(*role, name).unwrap()))
            .collect();
        for (role, name, _) in &tickets {
            assert!(gateway.revoke(*role, name));
        }
        for _ in 0..2 {
            // The program says the same each time it starts.
            gateway = restarted(gateway, &state, tokens).await;
            for (role, name, ticket) in &tickets {
                assert!(!gateway.tokens(*role).iter().any(|valid| valid == name));
                assert_eq!(gateway.ticket_of(*role, name), None);
                refused(join(*role, ticket).await.unwrap_err()).await;
                let error = gateway.add_token(*role, name).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            }
        }
        // What was not revoked is as ever.
        for role in [Role::Node, Role::Client, Role::Admin] {
            for name in gateway.tokens(role) {
                join(role, &gateway.ticket_of(role, &name).unwrap()).await.unwrap();
            }
        }
        for (role, name, ticket) in &tickets {
            assert!(gateway.allow_again(*role, name).unwrap());
            assert!(!gateway.allow_again(*role, name).unwrap(), "it is not revoked any more");
            assert_eq!(gateway.ticket_of(*role, name).as_ref(), Some(ticket));
            join(*role, ticket).await.unwrap();
        }
        gateway = restarted(gateway, &state, tokens).await;
        for (role, _, ticket) in &tickets {
            join(*role, ticket).await.unwrap();
        }
        drop(gateway);
    }
}

/// Comes with a ticket, and goes.
async fn join(role: Role, ticket: &easyremote::Ticket) -> Result<(), Error> {
    match role {
        Role::Node => soon(Node::serve(ticket.clone(), functions![add])).await.map(drop),
        _ => soon(Client::connect(ticket.clone())).await.map(drop),
    }
}

#[tokio::test]
async fn what_was_added_and_revoked_stays_so_after_a_restart() {
    let (first, state) = gateway(&[]).await;
    let ticket = first.add_token(Role::Client, "guest").unwrap();
    assert!(first.revoke(Role::Client, "guest"));
    let second = restarted(first, &state, &[]).await;
    assert_eq!(
        second.add_token(Role::Client, "guest").unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert!(second.allow_again(Role::Client, "guest").unwrap());
    refused(join(Role::Client, &ticket).await.unwrap_err()).await;
    assert_eq!(second.add_token(Role::Client, "guest").unwrap(), ticket, "nobody has named it yet");
    join(Role::Client, &ticket).await.unwrap();
    // Roles have names of their own.
    assert!(!second.allow_again(Role::Node, "guest").unwrap());
}

#[tokio::test]
async fn a_gateway_does_not_start_with_revocations_that_it_cannot_read() {
    let (first, state) = gateway(&[]).await;
    assert!(first.revoke(Role::Client, "default"));
    soon(first.shutdown()).await;
    drop(first);
    std::fs::write(state.path().join("revoked"), "revoke everybody;\n").unwrap();
    let error = soon(common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("are damaged"), "{error}");
}
