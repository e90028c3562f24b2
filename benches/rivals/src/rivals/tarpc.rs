//! tarpc over TLS, direct, put together as its example `tls_over_tcp`. It has no streams.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use rustls::pki_types::ServerName;
use tarpc::server::{BaseChannel, Channel};
use tarpc::{client, context, serde_transport, server};
use tokio::net::{TcpListener, TcpStream};
use tokio_serde::formats::Bincode;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::rival::{Caller, Place, Rival, Running, Shape, Wanted};
use crate::tls;

pub struct Tarpc;

#[tarpc::service]
pub trait Service {
    async fn echo(bytes: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Answering;

impl Service for Answering {
    async fn echo(self, _: context::Context, bytes: Bytes) -> Bytes {
        bytes
    }
}

const PROTOCOL: &[u8] = b"tarpc";

/// More calls than are ever in flight; "too low a value may decrease throughput".
const BUFFER: usize = 1_024;

/// Longest message: 8 MiB, and its frame. 8 MiB is tokio-util's own default, without the frame.
const MAX_MESSAGE: usize = 16 << 20;

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_MESSAGE).new_codec()
}

impl Rival for Tarpc {
    type Caller = ServiceClient;

    const SHAPE: Shape = Shape::Direct;

    async fn middle(_: Place) -> Result<Running> {
        anyhow::bail!("there is no middle")
    }

    async fn node(place: Place) -> Result<Running> {
        let acceptor = tls::acceptor(&place.directory, PROTOCOL)?;
        let listener = TcpListener::bind(place.target()).await?;
        let address = listener.local_addr()?;
        let accept = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    tcp.set_nodelay(true)?;
                    let framed = Framed::new(acceptor.accept(tcp).await?, codec());
                    let config = server::Config { pending_response_buffer: BUFFER };
                    let transport = serde_transport::new(framed, Bincode::default());
                    let calls = BaseChannel::new(config, transport).execute(Answering.serve());
                    calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
                    anyhow::Ok(())
                });
            }
        };
        Ok(Running::new(address, tokio::spawn(accept)))
    }

    async fn connect(place: Place) -> Result<ServiceClient> {
        let connector = tls::connector(&place.directory, PROTOCOL)?;
        let tcp = TcpStream::connect(place.target()).await?;
        tcp.set_nodelay(true)?;
        let tls = connector.connect(ServerName::try_from(tls::NAME)?, tcp).await?;
        let framed = Framed::new(tls, codec());
        let transport = serde_transport::new(framed, Bincode::default());
        let mut config = client::Config::default();
        config.pending_request_buffer = BUFFER;
        Ok(ServiceClient::new(config, transport).spawn())
    }
}

impl Caller for ServiceClient {
    const STREAMS: bool = false;

    async fn echo(&self, bytes: Bytes) -> Result<Bytes> {
        let mut context = context::current();
        context.deadline = Instant::now() + Duration::from_secs(60);
        Ok(self.echo(context, bytes).await?)
    }

    fn items(&self, _: Wanted) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        stream::empty()
    }
}
