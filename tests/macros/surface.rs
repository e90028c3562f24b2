//! The surface as it is promised, line by line: that it compiles is the test, and most of it runs too.
//! What functions do is shown elsewhere.

// As a library would write it.
#![allow(unreachable_pub)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{World, found_in, soon};
use easyremote::node::{Functions, NodeBuilder};
use easyremote::{
    Call, CallError, Client, Context, Error, ErrorKind, Executed, Gateway, Node, Options, Retry,
    Role, Strategy, StreamCall, functions, remote,
};
use futures::future::join_all;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Types that the lines below name.
mod types {
    use super::{Deserialize, Serialize};

    macro_rules! plain {
        ($($name:ident)*) => {$(
            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            pub struct $name(pub u64);
        )*};
    }

    plain!(Page Config Reading Celsius Row NotFound Image Label BadImage Chunk Text Answer);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub enum MathError {
        DivByZero,
    }

    /// What a node keeps.
    pub struct Llm(pub u64);
}
use types::*;

#[remote]
fn sync_add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(inline)]
fn tiny(a: i64) -> i64 {
    a + 1
}

#[remote]
async fn fetch(url: String) -> Page {
    Page(url.len() as u64)
}

#[remote]
fn divide(a: f64, b: f64) -> Result<f64, MathError> {
    if b == 0.0 { Err(MathError::DivByZero) } else { Ok(a / b) }
}

#[remote(stream)]
fn lines(path: String) -> impl Iterator<Item = String> {
    path.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[remote(stream)]
fn sensors(cfg: Config) -> impl Stream<Item = Reading> {
    stream::iter(0..cfg.0).map(Reading)
}

#[remote(stream)]
async fn tail(id: u64) -> Result<impl Stream<Item = Row>, NotFound> {
    if id == 0 { Err(NotFound(id)) } else { Ok(stream::iter([Row(id)])) }
}

#[remote(stream)]
fn infer(imgs: Vec<Image>) -> impl Stream<Item = Result<Label, BadImage>> {
    stream::iter(imgs).map(|img| if img.0 == 0 { Err(BadImage(0)) } else { Ok(Label(img.0)) })
}

#[remote]
async fn upload(name: String, chunks: impl Stream<Item = Bytes>) -> u64 {
    chunks.fold(name.len() as u64, |sum, chunk| async move { sum + chunk.len() as u64 }).await
}

#[remote(stream)]
fn translate(audio: impl Stream<Item = Chunk>) -> impl Stream<Item = Text> {
    audio.map(|chunk| Text(chunk.0))
}

#[remote]
async fn generate(#[state] llm: &Llm, #[ctx] ctx: &Context, prompt: String) -> Answer {
    assert_eq!(ctx.function(), "generate");
    Answer(llm.0 + prompt.len() as u64)
}

#[remote(operator)]
fn hot(r: Reading, limit: f64) -> Option<Celsius> {
    (r.0 as f64 > limit).then_some(Celsius(r.0))
}

#[remote(operator)]
fn warm(r: &Reading, limit: f64) -> bool {
    r.0 as f64 > limit
}

/// An API crate.
mod api {
    use easyremote::remote;

    #[remote]
    pub async fn embed(text: String) -> Vec<f32>;
}

/// The node that implements it.
mod node_crate {
    use easyremote::remote;

    use super::{Llm, api};

    #[remote(implements = api::embed)]
    async fn embed(#[state] m: &Llm, text: String) -> Vec<f32> {
        vec![m.0 as f32; text.len()]
    }

    pub fn functions() -> easyremote::node::Functions {
        easyremote::functions![embed]
    }
}

struct Model;

#[remote]
impl Model {
    pub async fn embed(&self, text: String) -> Vec<f32> {
        vec![1.0; text.len()]
    }

    #[remote(stream)]
    pub fn tokens(&self, prompt: String) -> impl Stream<Item = String> {
        stream::iter([prompt])
    }
}

#[remote]
trait Embedder {
    async fn dimensions(&self) -> u64;
}

impl Embedder for Model {
    async fn dimensions(&self) -> u64 {
        3
    }
}

#[remote(
    stream,
    name = "options.all",
    stub = AllOptions,
    timeout = "30s",
    idempotent,
    concurrency = 8,
    needs = "gpu",
    err = "display",
    crate = ::easyremote
)]
fn all_options() -> impl Iterator<Item = Result<u8, String>> {
    [Ok(1), Err("two".to_owned())].into_iter()
}

#[remote(detached)]
async fn detached() {}

#[remote(stream)]
fn generator(x: u64) -> impl Stream<Item = u64> {
    async_stream::stream! {
        yield x;
    }
}

/// All functions of this file.
pub(crate) fn all() -> Functions {
    let mut all = functions![
        sync_add,
        tiny,
        fetch,
        divide,
        lines,
        sensors,
        tail,
        infer,
        upload,
        translate,
        generate,
        Model,
        EmbedderServer<Model>,
        AllOptions,
        detached,
        generator,
        hot,
        warm,
    ];
    all.extend(node_crate::functions());
    all
}

/// Gives a node what these functions ask it for.
pub(crate) fn with_state(node: NodeBuilder) -> NodeBuilder {
    node.state(Llm(1)).state(Model)
}

#[tokio::test]
async fn roles() -> Result<(), Error> {
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve().await?;
    let gateway_addr = gateway.local_addr();
    let _ = (gateway.ticket(Role::Node), gateway.nodes(), gateway.stats());
    let builder = Node::builder(gateway_addr).dial(found_in(state.path()));
    let node = with_state(builder.id("gpu-1").tag("gpu").functions(all()));
    let node = node.concurrency(8).serve().await?;
    let _ = (node.id(), node.stats());
    let client = Client::builder(gateway_addr).dial(found_in(state.path())).connect().await?;
    let names: Vec<String> = client.functions().await?.into_iter().map(|it| it.name).collect();
    for name in ["Model.embed", "Embedder.dimensions", "embed", "options.all", "sync_add"] {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
    assert_eq!(client.nodes().await?.len(), 1);
    // Without names: all of this crate, of which the other file has some.
    let listed = functions!();
    let listed = listed.names().filter(|name| !crate::functions::ALL.contains(name));
    let mut listed: Vec<String> = listed.map(str::to_owned).collect();
    listed.extend(functions![EmbedderServer<Model>].names().map(str::to_owned));
    listed.sort();
    assert_eq!(listed, names);
    let grace = Duration::from_secs(30);
    soon(node.drain(grace)).await;
    soon(node.shutdown()).await;
    soon(node.closed()).await;
    client.close().await;
    soon(gateway.drain(grace)).await;
    soon(gateway.shutdown()).await;
    soon(gateway.closed()).await;
    Ok(())
}

/// All forms of an address.
#[tokio::test]
async fn addresses() -> Result<(), Error> {
    let world = World::start().await;
    let gateway_addr = world.gateway.local_addr();
    let ticket = world.gateway.ticket(Role::Client);
    let text = gateway_addr.to_string();
    soon(Client::connect(ticket.clone())).await?;
    soon(Client::connect(ticket.to_string())).await?;
    soon(Client::connect([ticket.clone(), ticket.clone()])).await?;
    soon(Client::connect(vec![ticket.to_string()])).await?;
    soon(Client::connect(format!("{ticket},{ticket}"))).await?;
    for builder in [Client::builder(text.as_str()), Client::builder(gateway_addr)] {
        soon(builder.dial(found_in(world.state_dir())).connect()).await?;
    }
    let missing = easyremote::from_env().map(drop).unwrap_err();
    assert!(missing.to_string().contains("EASYREMOTE_GATEWAY"), "{missing}");
    Ok(())
}

async fn everything() -> (World, Node, Client) {
    let world = World::start().await;
    let node = world.node_builder().id("gpu-1").tag("gpu").functions(all());
    let node = soon(node.state(Llm(40)).state(Model).serve()).await.unwrap();
    let client = world.client().await;
    (world, node, client)
}

#[tokio::test]
async fn calls() -> Result<(), Box<dyn std::error::Error>> {
    let (_world, _node, client) = everything().await;
    let sum: i64 = sync_add::call(&client, 1, 2).await?;
    assert_eq!(sum, 3);
    match divide::call(&client, 1.0, 0.0).await {
        Err(CallError::Function(MathError::DivByZero)) => {}
        Err(CallError::Remote(e)) if e.executed() == Executed::No => panic!("{e}"),
        other => panic!("{other:?}"),
    }
    let mut readings: StreamCall<sensors> = sensors::call(&client, Config(2));
    while let Some(reading) = readings.next().await {
        let reading: Reading = reading?;
        assert!(reading.0 < 2);
    }
    let sensors = sensors::call(&client, Config(40)).through(warm::with(20.0));
    let hot: StreamCall<sensors, Celsius> = sensors.through(hot::with(30.0)).skip(8);
    assert_eq!(hot.try_collect::<Vec<_>>().await?, [Celsius(39)]);
    let rows = tail::call(&client, 7).open().await.unwrap();
    assert_eq!(rows.try_collect::<Vec<Row>>().await?, [Row(7)]);
    let chunks = stream::iter([Bytes::from_static(b"1234"), Bytes::new()]);
    let n = upload::call(&client, "a.bin".into(), chunks).await?;
    assert_eq!(n, 9);
    let pairs = (0..100).map(|n| (n, n));
    let sums = sync_add::map(&client, pairs.clone()).concurrency(64);
    assert!(sums.try_collect::<Vec<i64>>().await?.into_iter().eq((0..100).map(|n| 2 * n)));
    assert_eq!(sync_add::map(&client, pairs).unordered().count().await, 100);

    assert_eq!(tiny::call(&client, 1).await?, 2);
    assert_eq!(fetch::call(&client, "abc".into()).await?, Page(3));
    assert_eq!(lines::call(&client, "a\nb".into()).try_collect::<Vec<_>>().await?, ["a", "b"]);
    let labels: Vec<_> = infer::call(&client, vec![Image(1), Image(0), Image(2)]).collect().await;
    assert!(matches!(labels[..], [Ok(_), Err(CallError::Function(BadImage(0))), Ok(_)]));
    let audio = stream::iter([Chunk(1), Chunk(2)]);
    let texts: Vec<Text> = translate::call(&client, audio).try_collect().await?;
    assert_eq!(texts, [Text(1), Text(2)]);
    assert_eq!(generate::call(&client, "ab".into()).await?, Answer(42));
    assert_eq!(api::embed::call(&client, "ab".into()).await?, [40.0, 40.0]);
    assert_eq!(Model::remote(&client).embed("ab".into()).await?, [1.0, 1.0]);
    let tokens: Vec<String> = Model::remote(&client).tokens("hi".into()).try_collect().await?;
    assert_eq!(tokens, ["hi"]);
    assert_eq!(EmbedderClient::new(&client).dimensions().await?, 3);
    assert_eq!(generator::call(&client, 5).try_collect::<Vec<_>>().await?, [5]);
    detached::call(&client).await?;
    let items: Vec<Result<u8, Error>> = AllOptions::call(&client).collect().await;
    assert_eq!(items[1].as_ref().unwrap_err().kind(), ErrorKind::Failed);
    // They stay what they were.
    assert_eq!(sync_add(1, 2), 3);
    assert_eq!(Model.embed("a".into()).await, [1.0]);
    Ok(())
}

#[tokio::test]
async fn options() -> Result<(), Box<dyn std::error::Error>> {
    let (_world, _node, client) = everything().await;
    let (d, t) = (Duration::from_secs(60), Instant::now() + Duration::from_secs(60));
    let call: Call<sync_add> = sync_add::call(&client, 1, 2);
    assert_eq!(call.timeout(d).deadline(t).on("gpu-1").tag("gpu").await?, 3);
    let call = sync_add::call(&client, 1, 2).prefer_tag("eu").sticky("key").wait_for_node();
    assert_eq!(call.metadata("k", "v").retry(Retry::new()).await?, 3);
    for strategy in [Strategy::LeastBusy, Strategy::RoundRobin, Strategy::Random, Strategy::Fastest]
    {
        let (sum, trace) = sync_add::call(&client, 1, 2).strategy(strategy).traced().await?;
        assert_eq!((sum, &*trace.node, trace.attempts), (3, "gpu-1", 1));
        let _: (Duration, Duration) = (trace.queued, trace.ran);
    }
    let gpus = client.with(Options::new().tag("gpu"));
    assert_eq!(sensors::call(&gpus, Config(9)).on("gpu-1").timeout(d).take(3).count().await, 3);

    // A call works with everything that takes futures.
    assert_eq!(tokio::spawn(tiny::call(&client, 1)).await??, 2);
    assert_eq!(join_all((0..3).map(|n| tiny::call(&client, n))).await.len(), 3);
    let calls = stream::iter((0..9).map(|n| tiny::call(&client, n))).buffer_unordered(3);
    assert_eq!(calls.count().await, 9);

    assert_eq!(client.call_json("sync_add", json!([1, 2])).await?, json!(3));
    assert_eq!(client.call_json("sync_add", json!({ "a": 1, "b": 2 })).await?, json!(3));
    assert_eq!(client.stream_json("lines", json!(["a\nb"])).count().await, 2);
    Ok(())
}

#[tokio::test]
async fn errors() {
    let (_world, _node, client) = everything().await;
    let error: Error =
        client.call_json("nothing", json!([])).await.unwrap_err().remote().unwrap().clone();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
    let _: (Option<&str>, u64, bool) = (error.node(), error.delivered(), error.is_retryable());
}
