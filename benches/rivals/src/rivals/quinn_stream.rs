//! What the bare quinn parties share: endpoints, and a stream per call.
//!
//! The request is a byte for its kind and what follows up to the FIN; the answer is bytes up to the
//! FIN, or items with their length in front.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, stream};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime, TransportConfig,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::rival::Wanted;
use crate::tls;

const ALPN: &[u8] = b"rival";

/// quinn's documents advise larger buffers for bulk; with the default the kernel drops packets.
const SOCKET_BUFFER: usize = 4 << 20;

/// More than are ever open, and not many more: quinn has a place for each from the beginning.
const MAX_STREAMS: u32 = 1_100;

/// Longest message: 8 MiB, and its frame.
const MAX_MESSAGE: usize = 16 << 20;

/// Small items are written together up to this; a write each costs several times as much.
const GATHER: usize = 32 << 10;

pub const ECHO: u8 = 0;
pub const ITEMS: u8 = 1;

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.max_concurrent_bidi_streams(MAX_STREAMS.into());
    Arc::new(config)
}

fn endpoint(address: SocketAddr, server: Option<quinn::ServerConfig>) -> Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(Endpoint::new(EndpointConfig::default(), server, socket.into(), Arc::new(TokioRuntime))?)
}

pub fn listen(address: SocketAddr, directory: &Path) -> Result<Endpoint> {
    let tls = QuicServerConfig::try_from(tls::server(directory, ALPN)?)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    endpoint(address, Some(config))
}

/// An endpoint and a connection, as every client and node has.
pub async fn dial(target: SocketAddr, directory: &Path) -> Result<(Endpoint, Connection)> {
    let endpoint = endpoint(([127, 0, 0, 1], 0).into(), None)?;
    let tls = QuicClientConfig::try_from(tls::client(directory, ALPN)?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    let connection = endpoint.connect_with(config, target, tls::NAME)?.await?;
    Ok((endpoint, connection))
}

/// Answers the calls of a connection, a task each.
pub async fn answer_all(connection: Connection) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(answer(send, recv));
    }
}

async fn answer(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    let mut request = Bytes::from(recv.read_to_end(MAX_MESSAGE).await?);
    match request.try_get_u8()? {
        ECHO => send.write_chunk(request).await?,
        _ => send_items(&mut send, read_wanted(request)?).await?,
    }
    send.finish()?;
    Ok(())
}

async fn send_items(send: &mut SendStream, wanted: Wanted) -> Result<()> {
    let item = vec![7; wanted.length as usize];
    let mut gathered = BytesMut::new();
    for _ in 0..wanted.n {
        gathered.put_u32(wanted.length as u32);
        gathered.extend_from_slice(&item);
        if gathered.len() >= GATHER {
            send.write_chunk(gathered.split().freeze()).await?;
        }
    }
    send.write_chunk(gathered.freeze()).await?;
    if wanted.stays {
        send.stopped().await?;
    }
    Ok(())
}

fn put_wanted(wanted: Wanted) -> Bytes {
    let mut request = BytesMut::new();
    request.put_u8(ITEMS);
    request.put_u64(wanted.n);
    request.put_u64(wanted.length);
    request.put_u8(wanted.stays.into());
    request.freeze()
}

fn read_wanted(mut request: Bytes) -> Result<Wanted> {
    let (n, length) = (request.try_get_u64()?, request.try_get_u64()?);
    Ok(Wanted { n, length, stays: request.try_get_u8()? != 0 })
}

/// One call on a stream of its own.
pub async fn echo(connection: &Connection, bytes: Bytes) -> Result<Bytes> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all_chunks(&mut [Bytes::from_static(&[ECHO]), bytes]).await?;
    send.finish()?;
    Ok(recv.read_to_end(MAX_MESSAGE).await?.into())
}

/// The items of a stream.
pub fn items(
    connection: Connection,
    wanted: Wanted,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let state =
        Receiving { connection, wanted, stream: None, buffer: BytesMut::new(), received: 0 };
    stream::try_unfold(state, Receiving::next)
}

struct Receiving {
    connection: Connection,
    wanted: Wanted,
    stream: Option<(SendStream, RecvStream)>,
    buffer: BytesMut,
    received: u64,
}

impl Receiving {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        if self.stream.is_none() {
            let (mut send, recv) = self.connection.open_bi().await?;
            send.write_chunk(put_wanted(self.wanted)).await?;
            send.finish()?;
            self.stream = Some((send, recv));
        }
        loop {
            if let Some(item) = take_item(&mut self.buffer) {
                self.received += 1;
                return Ok(Some((item, self)));
            }
            let (_, recv) = self.stream.as_mut().context("opened above")?;
            match recv.read_chunk(usize::MAX, true).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None => break,
            }
        }
        ensure!(self.received == self.wanted.n, "the stream broke");
        Ok(None)
    }
}

fn take_item(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(*buffer.first_chunk()?) as usize;
    if buffer.len() < 4 + length {
        return None;
    }
    buffer.advance(4);
    Some(buffer.split_to(length).freeze())
}
