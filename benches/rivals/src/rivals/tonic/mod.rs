//! tonic over TLS: direct, and through a gateway that is itself made with tonic.

mod direct;
mod gateway;
mod messages;

use std::fs;
use std::net::SocketAddr;
use std::pin::Pin;

use anyhow::Result;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, Server, ServerTlsConfig};

pub use self::direct::Tonic;
pub use self::gateway::TonicGateway;
pub use self::messages::{Payload, Wanted};
use crate::rival::{self, Caller, Place, Running};
use crate::tls;

mod service {
    include!(concat!(env!("OUT_DIR"), "/bench.Rival.rs"));
}

use self::service::rival_client::RivalClient;
use self::service::rival_server::{Rival, RivalServer};

type Items = Pin<Box<dyn Stream<Item = Result<Payload, tonic::Status>> + Send>>;

/// HTTP/2's own default, 64 KiB, holds bulk up; these are what quinn's defaults are near.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Longest message: 8 MiB, and its frame.
const MAX_MESSAGE: usize = 16 << 20;

/// More than are ever open; hyper allows 200 unless told otherwise.
const MAX_STREAMS: u32 = 4_096;

async fn serve(target: SocketAddr, place: &Place, service: impl Rival) -> Result<Running> {
    let listener = TcpListener::bind(target).await?;
    let address = listener.local_addr()?;
    let (certificate, key) = (read(place, tls::CERTIFICATE)?, read(place, tls::KEY)?);
    let identity = Identity::from_pem(certificate, key);
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(RivalServer::new(service).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    Ok(Running::new(address, tokio::spawn(server)))
}

async fn dial(target: SocketAddr, place: &Place) -> Result<Calling> {
    let certificate = Certificate::from_pem(read(place, tls::CERTIFICATE)?);
    let tls = ClientTlsConfig::new().ca_certificate(certificate).domain_name(tls::NAME);
    let endpoint = Channel::from_shared(format!("https://{target}"))?
        .tls_config(tls)?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let client = RivalClient::new(endpoint.connect().await?);
    Ok(Calling(client.max_decoding_message_size(MAX_MESSAGE)))
}

fn read(place: &Place, file: &str) -> Result<Vec<u8>> {
    Ok(fs::read(place.directory.join(file))?)
}

/// A channel, and what is generated for it.
#[derive(Clone)]
pub struct Calling(RivalClient<Channel>);

impl Caller for Calling {
    const STREAMS: bool = true;

    async fn echo(&self, bytes: Bytes) -> Result<Bytes> {
        Ok(self.0.clone().echo(Payload { bytes }).await?.into_inner().bytes)
    }

    fn items(&self, wanted: rival::Wanted) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let rival::Wanted { n, length, stays } = wanted;
        let mut client = self.0.clone();
        let items = async move {
            anyhow::Ok(client.items(Wanted { n, length, stays }).await?.into_inner())
        };
        futures::stream::once(items).flat_map(|items| match items {
            Ok(items) => items.map(|item| Ok(item?.bytes)).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        })
    }
}
