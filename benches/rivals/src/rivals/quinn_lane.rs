//! Bare quinn through a relay, all small calls of a hop on one stream: what a middle can cost at
//! least. Large calls and streams go as in [`quinn_relay`](super::quinn_relay).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::nodes::Nodes;
use super::quinn_relay::{CLIENT, NODE, relay};
use super::quinn_stream::{self, answer_all, dial, listen};
use crate::rival::{Caller, Place, Rival, Running, Shape, Wanted};

pub struct QuinnLane;

/// Longest call that goes with the others.
const SMALL: usize = 16 << 10;

/// Frames that are written together.
const BATCH: usize = 256;

/// A request or an answer: length, id, bytes.
struct Frame {
    id: u64,
    bytes: Bytes,
}

/// Of frames; bounded by the calls that are in flight.
type Out = UnboundedSender<Frame>;

/// Writes frames, all that are ready at once.
async fn write(mut frames: UnboundedReceiver<Frame>, mut send: SendStream) -> Result<()> {
    let mut ready = Vec::with_capacity(BATCH);
    let mut buffer = BytesMut::new();
    while frames.recv_many(&mut ready, BATCH).await > 0 {
        // Those who are about to send get the chance to be in this write.
        tokio::task::yield_now().await;
        while let (true, Ok(frame)) = (ready.len() < BATCH, frames.try_recv()) {
            ready.push(frame);
        }
        for frame in ready.drain(..) {
            buffer.put_u32(frame.bytes.len() as u32);
            buffer.put_u64(frame.id);
            buffer.extend_from_slice(&frame.bytes);
        }
        send.write_chunk(buffer.split().freeze()).await?;
    }
    Ok(())
}

/// Reads frames until the stream ends.
async fn read(mut recv: RecvStream, mut take: impl FnMut(Frame)) -> Result<()> {
    let mut buffer = BytesMut::new();
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        buffer.extend_from_slice(&chunk.bytes);
        while let Some(length) = buffer.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) {
            if buffer.len() < 12 + length as usize {
                break;
            }
            buffer.advance(4);
            let id = buffer.get_u64();
            take(Frame { id, bytes: buffer.split_to(length as usize).freeze() });
        }
    }
    Ok(())
}

/// Opens a lane and says for which role; gives what to write to, and what to read.
async fn open(connection: &Connection, role: u8) -> Result<(Out, RecvStream)> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&[role]).await?;
    // The relay knows the role once it has answered.
    recv.read_exact(&mut [0]).await?;
    let (out, frames) = mpsc::unbounded_channel();
    tokio::spawn(write(frames, send));
    Ok((out, recv))
}

/// What waits for an answer, by id.
#[derive(Debug)]
struct Waiting<T>(Mutex<HashMap<u64, T>>, AtomicU64);

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Mutex::default(), AtomicU64::new(0))
    }
}

impl<T> Waiting<T> {
    fn add(&self, waiting: T) -> u64 {
        let id = self.1.fetch_add(1, Ordering::Relaxed);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, waiting);
        id
    }

    fn take(&self, id: u64) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

/// A node, as the relay sees it.
#[derive(Clone)]
struct NodeLane {
    connection: Connection,
    out: Out,
    waiting: Arc<Waiting<(Out, u64)>>,
}

impl Rival for QuinnLane {
    type Caller = Calling;

    const SHAPE: Shape = Shape::Broker;

    async fn middle(place: Place) -> Result<Running> {
        let endpoint = listen(([127, 0, 0, 1], 0).into(), &place.directory)?;
        let address = endpoint.local_addr()?;
        let nodes = Arc::new(Nodes::default());
        let accept = async move {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(serve(incoming, nodes.clone()));
            }
        };
        Ok(Running::new(address, tokio::spawn(accept)))
    }

    async fn node(place: Place) -> Result<Running> {
        let (endpoint, connection) = dial(place.target(), &place.directory).await?;
        let (out, recv) = open(&connection, NODE).await?;
        let answer = read(recv, move |frame| {
            // If the lane is gone, nobody waits.
            let _ = out.send(frame);
        });
        let tasks = (tokio::spawn(answer), tokio::spawn(answer_all(connection)));
        Ok(Running::new(place.target(), (tasks, endpoint)))
    }

    async fn connect(place: Place) -> Result<Calling> {
        let (endpoint, connection) = dial(place.target(), &place.directory).await?;
        let (out, recv) = open(&connection, CLIENT).await?;
        let waiting = Arc::new(Waiting::<oneshot::Sender<Bytes>>::default());
        let calls = waiting.clone();
        tokio::spawn(read(recv, move |frame| {
            if let Some(call) = calls.take(frame.id) {
                let _ = call.send(frame.bytes);
            }
        }));
        Ok(Calling { connection, out, waiting, _endpoint: endpoint })
    }
}

async fn serve(incoming: quinn::Incoming, nodes: Arc<Nodes<NodeLane>>) -> Result<()> {
    let connection = incoming.await?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    let mut role = [0];
    recv.read_exact(&mut role).await?;
    send.write_all(&role).await?;
    let (out, frames) = mpsc::unbounded_channel();
    tokio::spawn(write(frames, send));
    if role == [NODE] {
        let waiting = Arc::new(Waiting::default());
        nodes.add(NodeLane { connection, out, waiting: waiting.clone() });
        let pass_on = move |answer: Frame| {
            if let Some((client, id)) = waiting.take(answer.id) {
                let _ = client.send(Frame { id, ..answer });
            }
        };
        return read(recv, pass_on).await;
    }
    // So that no call comes to a relay without a node.
    nodes.next().await?;
    let of_calls = nodes.clone();
    tokio::spawn(read(recv, move |call| {
        if let Some(node) = of_calls.next_now() {
            let id = node.waiting.add((out.clone(), call.id));
            let _ = node.out.send(Frame { id, ..call });
        }
    }));
    while let Ok(call) = connection.accept_bi().await {
        tokio::spawn(relay(call, nodes.next().await?.connection));
    }
    Ok(())
}

/// A connection and its lane.
#[derive(Clone)]
pub struct Calling {
    connection: Connection,
    out: Out,
    waiting: Arc<Waiting<oneshot::Sender<Bytes>>>,
    _endpoint: Endpoint,
}

impl Caller for Calling {
    const STREAMS: bool = true;

    async fn echo(&self, bytes: Bytes) -> Result<Bytes> {
        if bytes.len() > SMALL {
            return quinn_stream::echo(&self.connection, bytes).await;
        }
        let (answer, answered) = oneshot::channel();
        let id = self.waiting.add(answer);
        self.out.send(Frame { id, bytes }).context("the lane is gone")?;
        Ok(answered.await?)
    }

    fn items(&self, wanted: Wanted) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        quinn_stream::items(self.connection.clone(), wanted)
    }
}
