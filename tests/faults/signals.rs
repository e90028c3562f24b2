//! Programs that end when they are asked to: `shutdown_signal`, with a drain behind it.

use std::time::Duration;

use common::process::{Process, tell};
use common::{found_in, soon, until};
use easyremote::{Client, Node, functions, remote, shutdown_signal};
use futures::{Stream, StreamExt, stream};

const ROLE: &str = "SIGNALLED_ROLE";
const ADDRESS: &str = "SIGNALLED_ADDRESS";
const STATE: &str = "SIGNALLED_STATE";

/// Counts up, a number every 10 ms.
#[remote(stream)]
fn ticks(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n).then(|n| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        n
    })
}

/// The program in another process: a role that drains when it gets a signal, or only waits.
#[tokio::test]
async fn program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let get = |name| std::env::var(name).unwrap();
    match &*role {
        "gateway" => {
            let gateway = common::gateway_at(get(ADDRESS)).state_dir(get(STATE));
            let gateway = gateway.serve().await.unwrap();
            tell(format!("ready {}", gateway.local_addr()));
            shutdown_signal().await;
            gateway.drain(Duration::from_secs(30)).await;
        }
        "node" => {
            let node = Node::builder(get(ADDRESS)).dial(found_in(get(STATE)));
            let node = node.functions(functions![ticks]).serve().await.unwrap();
            tell("ready");
            shutdown_signal().await;
            node.drain(Duration::from_secs(30)).await;
        }
        _ => {
            // Both hear of the first signal; the next call waits for the next one.
            let first = tokio::spawn(shutdown_signal());
            let mut again = Box::pin(shutdown_signal());
            assert!(futures::poll!(&mut again).is_pending());
            tell("ready");
            again.await;
            first.await.unwrap();
            let mut second = Box::pin(shutdown_signal());
            assert!(futures::poll!(&mut second).is_pending());
            tell("first");
            second.await;
            tell("second");
        }
    }
    std::process::exit(0);
}

/// The program, when it is ready, and what it says then.
fn start(role: &str, address: &str, state: &str) -> (Process, String) {
    let environment = [(ROLE, role), (ADDRESS, address), (STATE, state)];
    let mut program = Process::start("signals::program", environment);
    let address = program.line("ready");
    (program, address.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_and_node_drain_when_they_are_asked_to_end() {
    for signal in ["TERM", "INT"] {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().to_str().unwrap().to_owned();
        let (mut gateway, address) = start("gateway", "127.0.0.1:0", &path);
        let (mut node, _) = start("node", &address, &path);
        let client = Client::builder(&*address).dial(found_in(&path)).connect();
        let client = soon(client).await.unwrap();
        let mut items = ticks::call(&client, 100).wait_for_node();
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
        node.signal(signal);
        gateway.signal(signal);
        for n in 1..100 {
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), n, "SIG{signal}");
        }
        assert!(soon(items.next()).await.is_none());
        until(|| node.has_ended() && gateway.has_ended()).await;
        assert_eq!((node.exit_code(), gateway.exit_code()), (Some(0), Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_heard_by_all_that_wait_and_the_next_one_again() {
    for signals in [["TERM", "INT"], ["INT", "TERM"], ["TERM", "TERM"]] {
        let (mut program, _) = start("waiter", "", "");
        program.signal(signals[0]);
        program.line("first");
        program.signal(signals[1]);
        program.line("second");
        until(|| program.has_ended()).await;
        assert_eq!(program.exit_code(), Some(0));
    }
}
