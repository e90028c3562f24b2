//! The client calls a gateway, which calls the node: a service that hands each call on.

use anyhow::Result;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::direct::Answering;
use super::service::rival_client::RivalClient;
use super::{Calling, Items, Payload, Wanted, dial, serve, service};
use crate::rival::{ANYWHERE, Place, Rival, Running, Shape};
use crate::rivals::nodes::Nodes;

pub struct TonicGateway;

impl Rival for TonicGateway {
    type Caller = Calling;

    const SHAPE: Shape = Shape::Proxy;

    async fn middle(place: Place) -> Result<Running> {
        let nodes = Nodes::default();
        for &target in &place.targets {
            nodes.add(dial(target, &place).await?);
        }
        serve(ANYWHERE, &place, Passing(nodes)).await
    }

    async fn node(place: Place) -> Result<Running> {
        serve(place.target(), &place, Answering).await
    }

    async fn connect(place: Place) -> Result<Calling> {
        dial(place.target(), &place).await
    }
}

struct Passing(Nodes<Calling>);

impl Passing {
    fn node(&self) -> Result<RivalClient<Channel>, Status> {
        let node = self.0.next_now();
        node.map(|node| node.0).ok_or_else(|| Status::unavailable("there is no node"))
    }
}

#[tonic::async_trait]
impl service::rival_server::Rival for Passing {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        self.node()?.echo(request.into_inner()).await
    }

    type ItemsStream = Items;

    async fn items(&self, request: Request<Wanted>) -> Result<Response<Items>, Status> {
        let answer = self.node()?.items(request.into_inner()).await?;
        Ok(Response::new(Box::pin(answer.into_inner())))
    }
}
