//! Jobs are for the identity that has spawned them.

use common::gate::{Gate, pass};
use common::soon;
use easyremote::client::{Job, JobState};
use easyremote::{Client, ErrorKind, Executed, Gateway, Node, Role, functions, remote};
use tempfile::TempDir;

#[remote]
async fn wait(gate: u64) -> u64 {
    pass(gate).await;
    gate
}

#[remote]
async fn other(gate: u64) -> u64 {
    pass(gate).await;
    gate
}

struct Shared {
    gateway: Gateway,
    _node: Node,
    _state: TempDir,
}

impl Shared {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path());
        gateway = gateway.token(Role::Node, "node").may_call("carol", ["other"]);
        for identity in ["alice", "bob", "carol"] {
            gateway = gateway.token(Role::Client, identity);
        }
        for identity in ["alice", "bob"] {
            gateway = gateway.may_call(identity, ["wait", "other"]);
        }
        let gateway = soon(gateway.serve()).await.unwrap();
        let ticket = gateway.ticket_of(Role::Node, "node").unwrap();
        let node = Node::builder(ticket).id("gpu-1").functions(functions![wait, other]);
        let node = soon(node.serve()).await.unwrap();
        Self { gateway, _node: node, _state: state }
    }

    async fn client(&self, identity: &str) -> Client {
        let ticket = self.gateway.ticket_of(Role::Client, identity).unwrap();
        soon(Client::connect(ticket)).await.unwrap()
    }
}

#[tokio::test]
async fn another_identity_gets_no_such_job_whether_there_is_one_or_not() {
    let shared = Shared::start().await;
    let (alice, bob) = (shared.client("alice").await, shared.client("bob").await);
    let gate = Gate::closed();
    let job = soon(wait::call(&alice, gate.key).spawn()).await.unwrap();
    let (id, text) = (job.id().clone(), job.id().to_string());
    // The same number but for a digit.
    let digit = if text.starts_with('0') { "1" } else { "0" };
    let none = format!("{digit}{}", &text[1..]).parse().unwrap();

    let mut texts = Vec::new();
    for (client, id) in [(&bob, &id), (&bob, &none), (&alice, &none)] {
        let job: Job<wait> = client.job(id);
        for error in [
            soon(job.status()).await.unwrap_err(),
            soon(job.result()).await.unwrap_err(),
            soon(job.cancel()).await.unwrap_err(),
        ] {
            let (kind, executed) = (error.kind(), error.executed());
            assert_eq!((kind, executed), (ErrorKind::NoSuchJob, Executed::Maybe), "{error}");
            texts.push(error.to_string());
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(soon(bob.jobs()).await.unwrap().is_empty());
    assert_eq!(soon(alice.jobs()).await.unwrap().len(), 1);

    // All of it without any effect.
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    gate.open();
    // A further client of the identity is as good as the first.
    let again: Job<wait> = shared.client("alice").await.job(&id);
    assert_eq!(soon(again.result()).await.unwrap(), gate.key);
}

#[tokio::test]
async fn the_rules_of_the_function_hold_for_its_jobs() {
    let shared = Shared::start().await;
    let (alice, carol) = (shared.client("alice").await, shared.client("carol").await);
    let gate = Gate::closed();
    let error = soon(wait::call(&carol, gate.key).spawn()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::No));
    let job = soon(wait::call(&alice, gate.key).spawn()).await.unwrap();
    let taken: Job<wait> = carol.job(job.id());
    let error = soon(taken.status()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::Maybe));
    // Nor under the name of a function that she may call.
    let renamed = job.id().to_string().replace(":wait@", ":other@").parse().unwrap();
    let taken: Job<other> = carol.job(&renamed);
    assert_eq!(soon(taken.status()).await.unwrap_err().kind(), ErrorKind::NoSuchJob);
    let own: Job<other> = alice.job(&renamed);
    assert_eq!(soon(own.status()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    // Her own.
    let own = soon(other::call(&carol, gate.key).spawn()).await.unwrap();
    gate.open();
    assert_eq!(soon(own.result()).await.unwrap(), gate.key);
    assert_eq!(soon(carol.jobs()).await.unwrap().len(), 1);
}
