//! A gateway that sends calls twice, built on the transport alone.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::*;
use crate::error::Executed;
use crate::node::{Node, NodeLimits};
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::auth::identity::Identity;
use crate::transport::control_stream::ControlStream;
use crate::transport::quic::endpoint::Listener;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{RecvHalf, SendHalf};
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::codec::Codec;
use crate::wire::control::{Control, Role, Welcome};
use crate::wire::error::read_error;
use crate::wire::frame::{self, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_MESSAGE;

#[test]
fn an_id_is_new_once_for_a_minute_or_many_calls() {
    let mut generations = Generations::default();
    assert!(generations.add(1) && !generations.add(1) && generations.add(2));
    generations.pass();
    assert!(!generations.add(1), "not yet a minute old, maybe");
    generations.remove(1);
    assert!(generations.add(1), "it did not start");
    generations.pass();
    assert!(generations.add(2) && !generations.add(1));
    let first = 10_u128 << 64;
    for n in 0..5 * MAX_GENERATION as u128 {
        assert!(generations.add(first + n));
        assert!(generations.young.len() + generations.old.len() <= 2 * MAX_GENERATION);
        if let Some(before) = (n + 1).checked_sub(MAX_GENERATION as u128) {
            assert!(!generations.add(first + before), "{n}");
        }
    }
    let buckets = (generations.young.capacity() + generations.old.capacity()) * 8 / 7;
    assert!(buckets * 17 < (23 << 20) / 10, "{buckets} places of 17 bytes");
}

/// Ids that differ little, or in one half only, must not meet in a table.
#[test]
fn hashes_spread() {
    // Digits of pi: with a random key the test would fail now and then.
    let key = HashKey([
        0x243f_6a88_85a3_08d3_1319_8a2e_0370_7344,
        0xa409_3822_299f_31d0_082e_fa98_ec4e_6c89,
        0x4528_21e6_38d0_1377_be54_66cf_34e9_0c6c,
    ]);
    for shift in [0, 7, 32, 64, 100] {
        let mut places = vec![0_u32; 1 << 12];
        for n in 0..1_u128 << 12 {
            places[(key.hash_one(n << shift) >> 3) as usize % (1 << 12)] += 1;
        }
        assert!(places.iter().all(|n| *n < 12), "{shift}: {:?}", places.iter().max());
    }
}

/// What the functions below have done; each test has a separate one.
struct Doings {
    starts: watch::Sender<usize>,
    /// One for each function that may end.
    ends: Semaphore,
}

impl Doings {
    fn start(&self) {
        self.starts.send_modify(|n| *n += 1);
    }

    async fn may_end(&self) {
        self.ends.acquire().await.unwrap().forget();
    }

    fn n_starts(&self) -> usize {
        *self.starts.borrow()
    }
}

type Shelf = Arc<Doings>;

#[easyremote_macros::remote(crate = crate)]
async fn once(#[state] doings: &Shelf) -> u64 {
    doings.start();
    1
}

#[easyremote_macros::remote(crate = crate, idempotent)]
async fn again(#[state] doings: &Shelf) -> u64 {
    doings.start();
    2
}

#[easyremote_macros::remote(crate = crate)]
async fn hold(#[state] doings: &Shelf) -> u64 {
    doings.start();
    doings.may_end().await;
    3
}

#[easyremote_macros::remote(crate = crate)]
fn hold_thread(#[state] doings: &Shelf, #[ctx] ctx: &Context) -> u64 {
    doings.start();
    // If the test fails, its runtime waits for this thread.
    let (may_end, over) = (Box::pin(doings.may_end()), Box::pin(ctx.cancelled()));
    pollster::block_on(futures::future::select(may_end, over));
    3
}

#[easyremote_macros::remote(crate = crate)]
fn blocking(#[state] doings: &Shelf) -> u64 {
    doings.start();
    4
}

#[easyremote_macros::remote(crate = crate, stream)]
fn numbers(#[state] doings: &Shelf) -> impl Iterator<Item = u64> + use<> {
    doings.start();
    0..2
}

#[easyremote_macros::remote(crate = crate, stream)]
fn streamed(#[state] doings: &Shelf) -> impl futures::Stream<Item = u64> + use<> {
    doings.start();
    futures::stream::iter(0..2)
}

/// A gateway that sends what a test tells it to.
struct RawGateway {
    connection: quinn::Connection,
    /// The heartbeat goes on for as long as this is kept.
    _control: tokio::task::JoinSet<()>,
    _endpoint: quinn::Endpoint,
}

/// How a call that is sent by hand ends.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The first frame.
    Frame(FrameKind),
    Error(ErrorKind, Executed),
}

const REPEATED: Answer = Answer::Error(ErrorKind::Protocol, Executed::Maybe);
const BODY: Answer = Answer::Frame(FrameKind::Body);

async fn soon<F: Future>(event: F) -> F::Output {
    timeout(Duration::from_secs(60), event).await.expect("did not happen in a minute")
}

/// A node with the functions above that is registered at `n_gateways` gateways.
async fn world(n_gateways: usize) -> (Node, Vec<RawGateway>, Shelf, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(Some(state.path())).unwrap();
    let shown = Arc::new(ServerCertResolver::new(&identity, None).unwrap());
    let listening = || {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(address, &identity, shown.clone(), false).unwrap();
        listener.endpoint().clone()
    };
    let endpoints: Vec<_> = (0..n_gateways).map(|_| listening()).collect();
    let addresses: Vec<_> = endpoints.iter().map(|it| it.local_addr().unwrap()).collect();
    let doings = Arc::new(Doings { starts: watch::Sender::new(0), ends: Semaphore::new(0) });
    let node = Node::builder(addresses)
        .dial(DialOptions::new().state_dir(state.path()))
        .state(doings.clone())
        .concurrency(3)
        .limits(NodeLimits::new().blocking_threads(2))
        .functions(crate::functions![once, again, hold, hold_thread, blocking, numbers, streamed])
        .serve();
    let gateways = futures::future::join_all(endpoints.into_iter().map(RawGateway::admit));
    let (node, gateways) = soon(futures::future::join(node, gateways)).await;
    (node.unwrap(), gateways, doings, state)
}

impl RawGateway {
    async fn admit(endpoint: quinn::Endpoint) -> Self {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let stream = connection.accept_bi().await.unwrap();
        let mut control = ControlStream::new(&connection, stream);
        assert!(matches!(control.next().await.unwrap(), Control::Hello(_)));
        let max_message = MAX_MESSAGE as u64;
        control.queue(&Control::Welcome(Welcome { max_message })).unwrap();
        assert!(matches!(control.next().await.unwrap(), Control::Register(_)));
        control.queue(&Control::Registered).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { while control.next().await.is_ok() {} });
        Self { connection, _control: tasks, _endpoint: endpoint }
    }

    /// Sends a call without its last `less` bytes.
    async fn send(&self, header: CallHeader, less: usize) -> (SendHalf, RecvHalf) {
        let (send, recv) = self.connection.open_bi().await.unwrap();
        let (mut send, recv) = (SendHalf::new(send), RecvHalf::new(recv));
        let mut frames = Vec::new();
        header.put(&mut frames).unwrap();
        let start = frame::begin(&mut frames, FrameKind::Body);
        frame::finish(&mut frames, start, MAX_MESSAGE).unwrap();
        send.write(&frames[..frames.len() - less]).await.unwrap();
        (send, recv)
    }

    async fn call(&self, header: CallHeader) -> Answer {
        let (mut send, recv) = self.send(header, 0).await;
        send.finish();
        answer(recv).await
    }
}

async fn answer(mut recv: RecvHalf) -> Answer {
    let mut buffer = FrameBuffer::new(MAX_MESSAGE);
    let frame = soon(recv.frame(&mut buffer)).await.unwrap().unwrap();
    match frame.kind {
        FrameKind::Error => {
            let error = read_error(&frame.body).unwrap();
            assert!(error.node().is_some(), "{error}");
            Answer::Error(error.kind(), error.executed())
        }
        kind => Answer::Frame(kind),
    }
}

fn header(function: &str, id: u8, attempt: u64) -> CallHeader {
    header_of((Role::Client, "client-1", "ci"), function, id, attempt)
}

fn header_of(
    (role, caller, identity): (Role, &str, &str),
    function: &str,
    id: u8,
    attempt: u64,
) -> CallHeader {
    let kind = if ["numbers", "streamed"].contains(&function) { Kind::Stream } else { Kind::Unary };
    let address = "127.0.0.1:1".parse().unwrap();
    let caller = Caller { role, id: caller.into(), identity: identity.into(), address };
    CallHeader {
        attempt,
        caller: Some(KnownCaller::new(caller)),
        ..CallHeader::new([id; 16], function.to_owned(), kind, Codec::Bincode)
    }
}

#[tokio::test]
async fn a_call_that_has_started_does_not_start_again() {
    let (node, gateways, doings, _state) = world(2).await;
    for (id, function) in (0..).zip(["once", "blocking", "numbers", "streamed"]) {
        let before = doings.n_starts();
        let Answer::Frame(_) = gateways[0].call(header(function, id, 0)).await else {
            panic!("`{function}` has not run")
        };
        // Neither the same attempt nor another, nor by another gateway.
        for (gateway, attempt) in [(0, 0), (0, 1), (1, 0), (1, 7)] {
            assert_eq!(gateways[gateway].call(header(function, id, attempt)).await, REPEATED);
        }
        assert_eq!(doings.n_starts(), before + 1, "{function}");
    }
    assert_eq!(node.stats().repeats, 16);
    assert_eq!(gateways[1].call(header("once", 100, 0)).await, BODY);
}

#[tokio::test]
async fn nobody_uses_up_the_ids_of_another() {
    let (node, gateways, doings, _state) = world(2).await;
    let callers = [
        (Role::Client, "client-1", "ci"),
        (Role::Client, "client-2", "ci"),
        (Role::Client, "client-1", "other"),
        (Role::Node, "client-1", "ci"),
        (Role::Admin, "client-1", "ci"),
    ];
    for (id, function) in (0..).zip(["once", "blocking", "numbers", "streamed"]) {
        let before = doings.n_starts();
        for (i, caller) in callers.into_iter().enumerate() {
            let header = header_of(caller, function, id, 0);
            let answer = gateways[i % 2].call(header.clone()).await;
            assert!(matches!(answer, Answer::Frame(_)), "{function} {caller:?}: {answer:?}");
            assert_eq!(gateways[1 - i % 2].call(header).await, REPEATED, "{function} {caller:?}");
        }
        assert_eq!(doings.n_starts(), before + callers.len(), "{function}");
    }
    assert_eq!(node.stats().repeats, 4 * callers.len() as u64);
}

#[tokio::test]
async fn of_two_at_the_same_time_one_runs() {
    let (node, gateways, doings, _state) = world(1).await;
    let (mut one, first) = gateways[0].send(header("hold", 1, 0), 0).await;
    let (mut two, second) = gateways[0].send(header("hold", 1, 0), 0).await;
    one.finish();
    two.finish();
    // The one that runs does not answer before it is released.
    let mut answers = [first, second].map(|recv| Box::pin(answer(recv))).into_iter();
    let (refused, _, running) =
        soon(futures::future::select_all(answers.by_ref().collect::<Vec<_>>())).await;
    assert_eq!(refused, REPEATED);
    doings.ends.add_permits(1);
    for answer in running {
        assert_eq!(answer.await, BODY);
    }
    assert_eq!(doings.n_starts(), 1);
    assert_eq!(node.stats().repeats, 1);
}

#[tokio::test]
async fn what_did_not_start_may_be_sent_again() {
    let (node, gateways, doings, _state) = world(1).await;
    let gateway = &gateways[0];
    // Cut before the last byte of its arguments.
    let (mut send, recv) = gateway.send(header("once", 1, 0), 1).await;
    send.reset(reset::cancelled());
    drop(recv);
    assert_eq!(gateway.call(header("once", 1, 0)).await, BODY);
    // Its deadline passes while it waits for a permit or a thread.
    for (id, holder, n_holders, function) in
        [(10, "hold", 3, "once"), (20, "hold_thread", 2, "blocking")]
    {
        let all_held = doings.n_starts() + n_holders;
        let holding = (1..).take(n_holders).map(|n| gateway.call(header(holder, id + n, 0)));
        let mut holding = Box::pin(futures::future::join_all(holding));
        let late = async {
            doings.starts.subscribe().wait_for(|starts| *starts == all_held).await.unwrap();
            let timeout = Some(Duration::from_millis(50));
            gateway.call(CallHeader { timeout, ..header(function, id, 0) }).await
        };
        tokio::select! {
            _ = &mut holding => panic!("no one has released them"),
            late = soon(late) => {
                assert_eq!(late, Answer::Error(ErrorKind::DeadlineExceeded, Executed::No));
            }
        }
        doings.ends.add_permits(n_holders);
        soon(holding).await;
        assert_eq!(gateway.call(header(function, id, 1)).await, BODY);
        assert_eq!(gateway.call(header(function, id, 2)).await, REPEATED);
    }
    assert_eq!(node.stats().repeats, 2);
}

#[tokio::test]
async fn an_idempotent_function_may_run_again() {
    let (node, gateways, doings, _state) = world(1).await;
    for attempt in 0..3 {
        assert_eq!(gateways[0].call(header("again", 1, attempt)).await, BODY);
    }
    assert_eq!(doings.n_starts(), 3);
    assert_eq!(node.stats().repeats, 0);
}
