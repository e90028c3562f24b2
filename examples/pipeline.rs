//! Functions that call functions: a pipeline over two nodes, which the client sees as one stream.
//!
//! The node `camera` has pictures, the node `gpu` can label them. `watch` runs on the first and
//! calls `label` on the second with `ctx.client()`. The whole pipeline stops when the client drops
//! its stream, and at its deadline.

use std::time::Duration;

use bytes::Bytes;
use easyremote::{Client, Context, Error, ErrorKind, Gateway, Node, functions, remote};
use futures::{Stream, TryStreamExt};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Picture {
    number: u32,
    pixels: Bytes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Label {
    picture: u32,
    what: String,
    by: String,
}

/// Pictures as they are taken, 50 a second.
#[remote(stream)]
fn pictures() -> impl Stream<Item = Picture> {
    async_stream::stream! {
        for number in 0.. {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let pixels = (0..64 * 64).map(|i| (i * (number % 5)) as u8).collect();
            yield Picture { number, pixels };
        }
    }
}

/// Labels one picture.
#[remote]
fn label(#[ctx] ctx: &Context, picture: Picture) -> Label {
    let brightness: u64 = picture.pixels.iter().map(|&pixel| u64::from(pixel)).sum();
    let what = if brightness == 0 { "nothing" } else { "something" };
    Label { picture: picture.number, what: what.to_owned(), by: ctx.node().to_owned() }
}

/// The labels of pictures as they are taken: four at a time, in order.
#[remote(stream, err = "display")]
fn watch(#[ctx] ctx: &Context) -> impl Stream<Item = Result<Label, Error>> {
    let client = ctx.client();
    pictures::call(&client)
        .map_ok(move |picture| label::call(&client, picture).tag("gpu"))
        .try_buffered(4)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let camera = Node::builder(address).id("camera").functions(functions![pictures, watch]);
    let camera = camera.serve().await?;
    let gpu = Node::builder(address).id("gpu").tag("gpu").functions(functions![label]);
    let gpu = gpu.serve().await?;
    let client = Client::connect(address).await?;

    let mut labels = watch::call(&client);
    for number in 0..10 {
        let label = labels.try_next().await?.ok_or("the stream has ended")?;
        println!("picture {}: {} (says {})", label.picture, label.what, label.by);
        assert_eq!((label.picture, &*label.by), (number, "gpu"));
    }

    // Dropping the stream stops `watch`, and that stops `pictures` and the labelling.
    drop(labels);
    nothing_runs(&camera, &gpu).await?;
    println!("stream dropped: both nodes are idle");

    // A deadline applies to the whole pipeline.
    let late = watch::call(&client).timeout(Duration::from_millis(200));
    match late.try_for_each(|_| async { Ok(()) }).await {
        Err(error) => {
            println!("deadline passed: {error}");
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        }
        Ok(()) => panic!("the camera never stops by itself"),
    }
    nothing_runs(&camera, &gpu).await?;
    Ok(())
}

/// Waits until both nodes are idle, for a minute at most.
async fn nothing_runs(camera: &Node, gpu: &Node) -> Result<(), Box<dyn std::error::Error>> {
    let idle = async {
        while camera.stats().in_flight + gpu.stats().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(Duration::from_secs(60), idle).await?)
}
