//! A target with a gateway between a client and a node that perform the steps of the input, in any
//! order.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::client::Client;
use crate::error::ErrorKind;
use crate::gateway::Gateway;
use crate::transport::auth::address::IntoGateways;
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::auth::identity::SERVER_NAME;
use crate::transport::auth::tls::Expected;
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::quic::endpoint;
use crate::transport::quic::reset;
use crate::wire::codec::Codec;
use crate::wire::control::{Control, Offer, Register, Retag, Role};
use crate::wire::frame::{FrameKind, put, put_count, put_end};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::operators::{AppliedFunction, Operator};

/// Longest wait for any event; none should take long.
const LIMIT: Duration = Duration::from_secs(20);

/// Shared by all inputs, so that the state that one leaves behind meets the next.
struct FuzzWorld {
    runtime: Runtime,
    gateway: Gateway,
    honest: Client,
    client: quinn::Connection,
    node: quinn::Connection,
    _endpoints: [quinn::Endpoint; 2],
}

static WORLD: Mutex<Option<FuzzWorld>> = Mutex::new(None);

/// Performs the steps of `data`, and checks that the gateway goes on and has released all state.
pub fn session(data: &[u8]) {
    let mut world = WORLD.lock();
    let running = world.get_or_insert_with(FuzzWorld::start);
    let lives = running.runtime.block_on(async {
        let all = tokio::time::timeout(LIMIT, running.run(data)).await;
        all.expect("the gateway hangs");
        running.lives()
    });
    if !lives {
        *world = None;
    }
}

impl FuzzWorld {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = std::env::temp_dir().join(format!("easyremote-fuzz-{}", std::process::id()));
        let (gateway, honest, client, node) = runtime.block_on(async {
            let gateway = Gateway::builder("127.0.0.1:0").state_dir(&state);
            let gateway = gateway.serve().await.unwrap();
            // The peers below connect with tickets and do not need the directory.
            std::fs::remove_dir_all(&state).unwrap();
            let honest = Client::connect(gateway.ticket(Role::Client)).await.unwrap();
            let target = |role| gateway.ticket(role).into_gateways().unwrap().targets.remove(0);
            let mut client =
                Dialler::client(target(Role::Client), DialOptions::default(), false).unwrap();
            let client = client.dial(None, |_, _| ()).await;
            use Kind::{Duplex, Operator, Stream, Unary, Upload};
            let offers = [Unary, Stream, Upload, Duplex, Operator].map(offer);
            let register = Register { tags: Vec::new(), capacity: 4_096, functions: offers.into() };
            let (id, trust) = ("fuzz".to_owned(), DialOptions::default());
            // Its tags never change.
            let tags = watch::Sender::new(Retag { number: 0, tags: Vec::new() }).subscribe();
            let node = Dialler::node(target(Role::Node), id, trust, 4_096, register, tags);
            let node = node.unwrap().dial(None, |_, _| ()).await;
            (gateway, honest, stay(client.unwrap()), stay(node.unwrap()))
        });
        let _endpoints = [client.0, node.0];
        let (client, node) = (client.1, node.1);
        Self { runtime, gateway, honest, client, node, _endpoints }
    }

    async fn run(&self, data: &[u8]) {
        let mut ops = data.iter().copied();
        let stranger = ops.next().is_some_and(|first| first & 1 == 1);
        if stranger {
            return self.stranger(data).await;
        }
        let (mut calls, mut answers) = (Vec::new(), Vec::new());
        while let Some(op) = ops.next() {
            match op & 0x0f {
                0 | 1 if calls.len() < 8 => {
                    let Ok((mut send, recv)) = self.client.open_bi().await else { return };
                    if op & 1 == 0 {
                        let _ = send.write_all(&header(ops.next().unwrap_or(0))).await;
                    }
                    calls.push((send, recv));
                }
                2 => {
                    // The calls that have arrived there by now.
                    tokio::task::yield_now().await;
                    let next = Duration::from_millis(u64::from(op >> 4));
                    if let Ok(opened) = tokio::time::timeout(next, self.node.accept_bi()).await {
                        answers.extend(opened);
                    }
                }
                side => {
                    let streams = if op & 0x80 == 0 { &mut calls } else { &mut answers };
                    let at = usize::from(op >> 4 & 7);
                    if let Some(stream) = streams.get_mut(at) {
                        act(side, stream, &mut ops).await;
                    }
                }
            }
        }
        calls.into_iter().for_each(give_up);
        answers.into_iter().for_each(give_up);
        self.goes_on().await;
    }

    /// The first stream of a peer that has not authenticated.
    async fn stranger(&self, data: &[u8]) {
        let address = self.gateway.local_addr();
        let pin = self.gateway.ticket(Role::Client).pin.expect("it has one");
        let endpoint = endpoint::dialling(address, Expected::Pin(pin), None, 0).unwrap();
        let connection = endpoint.connect(address, SERVER_NAME).unwrap();
        let connection = connection.await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        let mut bytes = Vec::new();
        match data {
            [_, kind, body @ ..] if kind & 1 == 0 => put(&mut bytes, FrameKind::Control, body),
            _ => bytes.extend_from_slice(data),
        }
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        let close = connection.closed().await;
        let said = matches!(close, quinn::ConnectionError::ApplicationClosed(_));
        assert!(said, "a stranger is told why: {close}");
    }

    /// Checks that the gateway answers, and has no state left of abandoned calls.
    async fn goes_on(&self) {
        // It may have to dial again, after a pause of the whole process.
        let nodes = self.honest.nodes().await;
        assert!(nodes.is_ok_and(|nodes| nodes.len() <= 1));
        let mut looks = tokio::time::interval(Duration::from_micros(200));
        while self.gateway.stats().in_flight > 0 {
            looks.tick().await;
            // Streams that were opened at the node after the input has ended.
            while let Ok(opened) = tokio::time::timeout(Duration::ZERO, self.node.accept_bi()).await
            {
                match opened {
                    Ok(opened) => give_up(opened),
                    Err(_) => return,
                }
            }
        }
    }

    /// Whether the connections are up. They may be lost only if the whole process was paused.
    fn lives(&self) -> bool {
        let lost = [&self.client, &self.node].map(|connection| {
            let cause = connection.close_reason()?;
            let error = reset::connection_error(cause, ErrorKind::ConnectionLost);
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "a call cost more: {error}");
            Some(error)
        });
        lost.iter().all(Option::is_none)
    }
}

/// Keeps the heartbeat of a connection going.
fn stay(dialled: Dialled) -> (quinn::Endpoint, quinn::Connection) {
    let Dialled { endpoint, connection, mut control, .. } = dialled;
    tokio::spawn(async move {
        while let Ok(message) = control.next().await {
            match message {
                Control::Draining | Control::Drained | Control::Leave | Control::Slow(_) => {}
                // It runs nothing, so the permits of every call are free.
                Control::Abandoned { stream } => {
                    control.queue(&Control::Released { stream }).expect("the queue is short");
                }
                _ => break,
            }
        }
    });
    (endpoint, connection)
}

fn name(kind: Kind) -> String {
    kind.to_string()
}

fn offer(kind: Kind) -> Offer {
    Offer {
        name: name(kind),
        kind,
        fingerprint: 1,
        parameters: Vec::new(),
        signature: String::new(),
        doc: String::new(),
        needs: Vec::new(),
        concurrency: 0,
        timeout_ms: 0,
        idempotent: false,
        tool: false,
        schemas: "".into(),
    }
}

/// The header of a call, selected by `choice`.
fn header(choice: u8) -> Vec<u8> {
    let kind = Kind::from_code(choice & 3).unwrap_or(Kind::Unary);
    let mut header = CallHeader::new([choice; 16], name(kind), kind, Codec::Json);
    header.fingerprint = u64::from(choice >> 2 & 1);
    header.traced = choice & 8 != 0;
    header.routing.wait = choice & 16 != 0;
    if choice & 32 != 0 {
        header.timeout = Some(Duration::from_millis(u64::from(choice)));
    }
    header.demand = choice & 128 != 0 && kind.gives_stream();
    if choice & 4 != 0 && kind.gives_stream() {
        // Of the right types, of others, or a function.
        let applied = if choice & 16 == 0 { Kind::Operator } else { kind };
        let (name, fingerprint) = (name(applied), u64::from(choice >> 5 & 1) + 1);
        let applied = AppliedFunction { name, fingerprint, arguments: vec![choice; 7] };
        header.operators = vec![Operator::Skip(1), Operator::Through(Arc::new(applied))];
    }
    if choice & 64 != 0 {
        header.function = "easyremote.functions".into();
    }
    let mut out = Vec::new();
    let _ = header.put(&mut out);
    out
}

/// Performs one step of one side of one stream.
async fn act(
    step: u8,
    (send, recv): &mut (SendStream, RecvStream),
    ops: &mut (impl Iterator<Item = u8> + Clone),
) {
    let code = |ops: &mut dyn Iterator<Item = u8>| VarInt::from(ops.next().unwrap_or(0));
    match step {
        3..=6 => {
            let length = usize::from(ops.next().unwrap_or(0));
            let body: Vec<u8> = ops.by_ref().take(length).collect();
            let mut out = Vec::new();
            match step {
                3 => out = body,
                4 => put(&mut out, FrameKind::Body, &body),
                5 => put(&mut out, FrameKind::Item, &body),
                _ => put(&mut out, FrameKind::Error, &body),
            }
            let _ = send.write_all(&out).await;
        }
        7 => {
            let mut out = Vec::new();
            put(&mut out, FrameKind::Open, b"");
            let _ = send.write_all(&out).await;
        }
        8 => {
            let mut out = Vec::new();
            put_end(&mut out, u64::from(ops.next().unwrap_or(0)));
            let _ = send.write_all(&out).await;
        }
        9 => {
            let _ = send.finish();
        }
        12 => {
            let (mut out, number) = (Vec::new(), ops.next().unwrap_or(0));
            let kind = if number & 1 == 0 { FrameKind::Taken } else { FrameKind::Skipped };
            put_count(&mut out, kind, u64::from(number / 2));
            let _ = send.write_all(&out).await;
        }
        10 => {
            let _ = send.reset(code(ops));
        }
        11 => {
            let _ = recv.stop(code(ops));
        }
        _ => {
            let mut some = [0; 64];
            let _ = tokio::time::timeout(Duration::from_millis(1), recv.read(&mut some)).await;
        }
    }
}

/// Ends both directions of a stream.
fn give_up((mut send, mut recv): (SendStream, RecvStream)) {
    let _ = send.reset(VarInt::from_u32(0));
    let _ = recv.stop(VarInt::from_u32(0));
}
