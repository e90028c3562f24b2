//! Middleware at the node: one layer measures every call, another checks a token in its metadata.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use easyremote::node::{Done, Next};
use easyremote::{Client, Context, Error, ErrorKind, Executed, Gateway, Node, Options};
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(stream)]
fn count(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

/// Number of calls and their total time, by function.
#[derive(Default)]
struct Meter(Mutex<BTreeMap<String, (u64, Duration)>>);

/// Measures every call and logs how it ended. As the outermost layer it sees refused calls too.
async fn measure(ctx: Context, next: Next) -> Result<Done, Error> {
    let (call, start) = (ctx.clone(), Instant::now());
    let result = next.run(ctx).await;
    let (function, took) = (call.function(), start.elapsed());
    match &result {
        Ok(done) => println!("{function}: {:?}, {} items, {took:?}", done.end(), done.items()),
        Err(error) => println!("{function}: refused: {error}"),
    }
    if let Some(meter) = call.state::<Meter>() {
        let mut meter = meter.0.lock().expect("no one panics while holding it");
        let (calls, time) = meter.entry(function.to_owned()).or_default();
        *calls += 1;
        *time += took;
    }
    result
}

/// Lets only calls through that carry the token.
async fn check_token(ctx: Context, next: Next) -> Result<Done, Error> {
    match ctx.metadata("token") {
        Some("open sesame") => next.run(ctx).await,
        Some(_) => Err(Error::new(ErrorKind::PermissionDenied, "the token is not valid")),
        None => Err(Error::new(ErrorKind::Unauthenticated, "send a `token` as metadata")),
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let meter = std::sync::Arc::new(Meter::default());
    let _node = Node::builder(address)
        .functions(functions![add, count])
        .shared_state(meter.clone())
        .wrap(measure)
        .wrap(check_token)
        .serve()
        .await?;

    let stranger = Client::connect(address).await?;
    let error = add::call(&stranger, 1, 2).await.expect_err("it has no token");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));

    let client = stranger.with(Options::new().metadata("token", "open sesame"));
    assert_eq!(add::call(&client, 1, 2).await?, 3);
    let numbers: Vec<_> = count::call(&client, 5).collect().await;
    assert_eq!(numbers.len(), 5);

    // The caller has its answer before the outermost layer continues.
    while meter.0.lock().expect("no one panics while holding it").len() < 2 {
        tokio::task::yield_now().await;
    }
    for (function, (calls, time)) in &*meter.0.lock().expect("no one panics while holding it") {
        println!("{function}: {calls} calls, {time:?}");
    }
    Ok(())
}
