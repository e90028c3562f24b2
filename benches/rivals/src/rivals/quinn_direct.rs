//! Bare quinn, direct, a stream per call: what QUIC itself costs.

use anyhow::Result;
use bytes::Bytes;
use futures::Stream;
use quinn::{Connection, Endpoint};

use super::quinn_stream::{answer_all, dial, echo, items, listen};
use crate::rival::{Caller, Place, Rival, Running, Shape, Wanted};

pub struct QuinnDirect;

impl Rival for QuinnDirect {
    type Caller = Calling;

    const SHAPE: Shape = Shape::Direct;

    async fn middle(_: Place) -> Result<Running> {
        anyhow::bail!("there is no middle")
    }

    async fn node(place: Place) -> Result<Running> {
        let endpoint = listen(place.target(), &place.directory)?;
        let address = endpoint.local_addr()?;
        let accept = async move {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async {
                    answer_all(incoming.await?).await;
                    anyhow::Ok(())
                });
            }
        };
        Ok(Running::new(address, tokio::spawn(accept)))
    }

    async fn connect(place: Place) -> Result<Calling> {
        let (endpoint, connection) = dial(place.target(), &place.directory).await?;
        Ok(Calling { connection, _endpoint: endpoint })
    }
}

/// A connection on which every call is a stream.
#[derive(Clone)]
pub struct Calling {
    connection: Connection,
    _endpoint: Endpoint,
}

impl Calling {
    pub fn new(connection: Connection, endpoint: Endpoint) -> Self {
        Self { connection, _endpoint: endpoint }
    }
}

impl Caller for Calling {
    const STREAMS: bool = true;

    async fn echo(&self, bytes: Bytes) -> Result<Bytes> {
        echo(&self.connection, bytes).await
    }

    fn items(&self, wanted: Wanted) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        items(self.connection.clone(), wanted)
    }
}
