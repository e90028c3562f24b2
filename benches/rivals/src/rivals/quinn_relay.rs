//! Bare quinn through a relay, a stream per call on each hop.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};

use super::nodes::Nodes;
use super::quinn_direct::Calling;
use super::quinn_stream::{answer_all, dial, listen};
use crate::rival::{Place, Rival, Running, Shape};

pub struct QuinnRelay;

impl Rival for QuinnRelay {
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
        tell_role(&connection, NODE).await?;
        Ok(Running::new(place.target(), (tokio::spawn(answer_all(connection)), endpoint)))
    }

    async fn connect(place: Place) -> Result<Calling> {
        let (endpoint, connection) = dial(place.target(), &place.directory).await?;
        tell_role(&connection, CLIENT).await?;
        Ok(Calling::new(connection, endpoint))
    }
}

pub const NODE: u8 = b'n';
pub const CLIENT: u8 = b'c';

/// The first stream of a connection says what it is for; its answer, that this is known.
pub async fn tell_role(connection: &Connection, role: u8) -> Result<()> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&[role]).await?;
    send.finish()?;
    recv.read_to_end(1).await?;
    Ok(())
}

async fn serve(incoming: quinn::Incoming, nodes: Arc<Nodes<Connection>>) -> Result<()> {
    let connection = incoming.await?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    if recv.read_to_end(1).await? == [NODE] {
        nodes.add(connection.clone());
        send.finish()?;
        connection.closed().await;
        return Ok(());
    }
    send.finish()?;
    while let Ok(call) = connection.accept_bi().await {
        tokio::spawn(relay(call, nodes.next().await?));
    }
    Ok(())
}

pub async fn relay(
    (client_send, client_recv): (SendStream, RecvStream),
    node: Connection,
) -> Result<()> {
    let (node_send, node_recv) = node.open_bi().await?;
    tokio::try_join!(pump(client_recv, node_send), pump(node_recv, client_send))?;
    Ok(())
}

/// Chunks that one read gives; more are joined in one write.
const CHUNKS: usize = 32;

async fn pump(mut from: RecvStream, mut to: SendStream) -> Result<()> {
    let mut chunks: [Bytes; CHUNKS] = Default::default();
    loop {
        // Who leaves early must not keep the other end waiting.
        let read = tokio::select! {
            biased;
            read = from.read_chunks(&mut chunks) => read?,
            _ = to.stopped() => return Ok(()),
        };
        match read {
            Some(n) => to.write_all_chunks(&mut chunks[..n]).await?,
            None => break,
        }
    }
    to.finish()?;
    Ok(())
}
