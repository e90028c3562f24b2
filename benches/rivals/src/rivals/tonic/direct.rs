//! The client calls the node.

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status};

use super::{Calling, Items, Payload, Wanted, dial, serve, service};
use crate::rival::{Place, Rival, Running, Shape};

pub struct Tonic;

impl Rival for Tonic {
    type Caller = Calling;

    const SHAPE: Shape = Shape::Direct;

    async fn middle(_: Place) -> Result<Running> {
        anyhow::bail!("there is no middle")
    }

    async fn node(place: Place) -> Result<Running> {
        serve(place.target(), &place, Answering).await
    }

    async fn connect(place: Place) -> Result<Calling> {
        dial(place.target(), &place).await
    }
}

/// What a node does, with and without a gateway.
pub struct Answering;

#[tonic::async_trait]
impl service::rival_server::Rival for Answering {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    type ItemsStream = Items;

    async fn items(&self, request: Request<Wanted>) -> Result<Response<Items>, Status> {
        let Wanted { n, length, stays } = request.into_inner();
        let item = Payload { bytes: Bytes::from(vec![7; length as usize]) };
        let items = stream::iter(0..n).map(move |_| Ok(item.clone()));
        let items: Items =
            if stays { Box::pin(items.chain(stream::pending())) } else { Box::pin(items) };
        Ok(Response::new(items))
    }
}
