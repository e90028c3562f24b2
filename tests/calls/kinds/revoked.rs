//! Who is sent away by a revocation hears that, whatever it has open.

use std::time::Duration;

use common::gate::{Gate, pass, serve};
use common::{patient, soon, until};
use easyremote::{Client, ErrorKind, Executed, Node, Role, functions, remote};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};

#[remote(stream)]
fn one_and_no_more() -> impl Stream<Item = u64> {
    stream::once(async { 1 }).chain(stream::pending())
}

#[remote]
async fn wait(gate: u64) -> u64 {
    pass(gate).await;
    gate
}

async fn everything_open_hears_of_it(multiplex: bool, streams: usize) {
    let state = tempfile::tempdir().unwrap();
    let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    let gateway = gateway.token(Role::Client, "web").token(Role::Node, "node");
    let gateway = soon(gateway.serve()).await.unwrap();
    let ticket = gateway.ticket_of(Role::Node, "node").unwrap();
    let node = Node::builder(ticket).functions(functions![one_and_no_more, wait]);
    let node = serve(node).await.unwrap();
    let gate = Gate::closed();
    for round in 0..4 {
        let row = format!("multiplexed {multiplex}, {streams} streams, round {round}");
        let ticket = gateway.add_token(Role::Client, &format!("web#{round}")).unwrap();
        let client =
            Client::builder(ticket).multiplex(multiplex).dial(patient(Duration::from_secs(5)));
        let client = soon(client.connect()).await.unwrap();
        let mut open = Vec::new();
        for _ in 0..streams {
            let mut items = one_and_no_more::call(&client);
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1, "{row}");
            open.push(items);
        }
        let waiting = tokio::spawn(wait::call(&client, gate.key));
        until(|| node.stats().in_flight == streams as u64 + 1).await;
        assert!(gateway.revoke(Role::Client, &format!("web#{round}")));
        let ends = join_all(open.iter_mut().map(StreamExt::next));
        for end in soon(ends).await {
            let error = end.unwrap().unwrap_err();
            let seen = (error.kind(), error.executed(), error.delivered());
            assert_eq!(seen, (ErrorKind::Unauthenticated, Executed::Yes, 1), "{row}: {error:?}");
        }
        let error = soon(waiting).await.unwrap().unwrap_err();
        let seen = (error.kind(), error.executed());
        assert_eq!(seen, (ErrorKind::Unauthenticated, Executed::Maybe), "{row}: {error:?}");
        until(|| node.stats().in_flight == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_sent_away_by_a_revocation_hears_that() {
    // More than a scheduler lets run before it looks at the connection's own task again.
    for (multiplex, streams) in [(true, 1), (true, 200), (false, 200)] {
        everything_open_hears_of_it(multiplex, streams).await;
    }
}
