//! The client calls a gateway, which calls the node: a service that hands each call on.

use anyhow::Result;
use tonic::{Request, Response, Status};

use super::direct::Answering;
use super::{Calling, Items, Payload, Wanted, dial, serve, service};
use crate::rival::{Place, Rival, Running, Shape};

pub struct TonicGateway;

impl Rival for TonicGateway {
    type Caller = Calling;

    const SHAPE: Shape = Shape::Proxy;

    async fn middle(place: Place) -> Result<Running> {
        let node = dial(&place).await?;
        let anywhere = ([127, 0, 0, 1], 0).into();
        serve(Place { target: anywhere, ..place }, Passing(node)).await
    }

    async fn node(place: Place) -> Result<Running> {
        serve(place, Answering).await
    }

    async fn connect(place: Place) -> Result<Calling> {
        dial(&place).await
    }
}

struct Passing(Calling);

#[tonic::async_trait]
impl service::rival_server::Rival for Passing {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        self.0.0.clone().echo(request.into_inner()).await
    }

    type ItemsStream = Items;

    async fn items(&self, request: Request<Wanted>) -> Result<Response<Items>, Status> {
        let answer = self.0.0.clone().items(request.into_inner()).await?;
        Ok(Response::new(Box::pin(answer.into_inner())))
    }
}
