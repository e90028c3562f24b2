//! What calls and streams cost over loopback, with gateway, node and client in one process: real QUIC,
//! and less to set up than with the processes of `calls` and `streams`.
//!
//! `cargo bench --bench loopback`

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::World;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use easyremote::{Client, Error, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::runtime::Runtime;

#[remote]
async fn echo_async(bytes: Bytes) -> Bytes {
    bytes
}

#[remote]
fn echo_sync(bytes: Bytes) -> Bytes {
    bytes
}

#[remote(inline)]
fn echo_inline(bytes: Bytes) -> Bytes {
    bytes
}

#[remote(stream)]
fn iterated(n: u64, length: usize) -> impl Iterator<Item = Bytes> {
    std::iter::repeat_n(Bytes::from(vec![7; length]), n as usize)
}

#[remote(stream)]
fn streamed(n: u64, length: usize) -> impl Stream<Item = Bytes> {
    stream::iter(std::iter::repeat_n(Bytes::from(vec![7; length]), n as usize))
}

/// All roles, in one process.
struct Roles {
    runtime: Runtime,
    world: World,
    _node: Node,
}

impl Roles {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let functions = functions![echo_async, echo_sync, echo_inline, iterated, streamed];
        let (world, _node) = runtime.block_on(async {
            let world = World::start().await;
            let node = world.node(functions).await;
            (world, node)
        });
        Self { runtime, world, _node }
    }

    fn client(&self, lanes: bool) -> Client {
        let connecting = self.world.client_builder().multiplex(lanes).connect();
        self.runtime.block_on(connecting).unwrap()
    }

    /// How long `n` calls take, so many at a time.
    fn time_of_calls<C>(&self, n: u64, in_flight: usize, call: impl Fn() -> C) -> Duration
    where
        C: Future<Output = Result<Bytes, Error>>,
    {
        self.runtime.block_on(async {
            let begun = Instant::now();
            let answers = stream::iter(0..n).map(|_| call()).buffer_unordered(in_flight);
            assert_eq!(answers.map(Result::unwrap).count().await as u64, n);
            begun.elapsed()
        })
    }

    /// How long a stream of `n` items takes.
    fn time_of_items(&self, n: u64, items: impl Stream<Item = Result<Bytes, Error>>) -> Duration {
        self.runtime.block_on(async {
            let begun = Instant::now();
            assert_eq!(items.map(Result::unwrap).count().await as u64, n);
            begun.elapsed()
        })
    }
}

fn calls(criterion: &mut Criterion) {
    let roles = Roles::start();
    let bytes = Bytes::from(vec![7; 64]);
    for (lanes, client) in [("lane", roles.client(true)), ("no lane", roles.client(false))] {
        let mut group = criterion.benchmark_group(format!("call, {lanes}"));
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(1));
        for in_flight in [1, 64] {
            group.bench_function(format!("async function/{in_flight}"), |bencher| {
                let call = || echo_async::call(&client, bytes.clone());
                bencher.iter_custom(|n| roles.time_of_calls(n, in_flight, call));
            });
            group.bench_function(format!("sync function/{in_flight}"), |bencher| {
                let call = || echo_sync::call(&client, bytes.clone());
                bencher.iter_custom(|n| roles.time_of_calls(n, in_flight, call));
            });
            group.bench_function(format!("inline function/{in_flight}"), |bencher| {
                let call = || echo_inline::call(&client, bytes.clone());
                bencher.iter_custom(|n| roles.time_of_calls(n, in_flight, call));
            });
        }
    }
}

fn streams(criterion: &mut Criterion) {
    let roles = Roles::start();
    let client = roles.client(true);
    let mut group = criterion.benchmark_group("stream");
    group.sampling_mode(SamplingMode::Flat);
    for (size, length, throughput) in [
        ("64 B items", 64, Throughput::Elements(1)),
        ("64 KiB items", 64 << 10, Throughput::Bytes(64 << 10)),
    ] {
        group.throughput(throughput);
        group.bench_function(format!("iterator/{size}"), |bencher| {
            bencher.iter_custom(|n| roles.time_of_items(n, iterated::call(&client, n, length)));
        });
        group.bench_function(format!("stream/{size}"), |bencher| {
            bencher.iter_custom(|n| roles.time_of_items(n, streamed::call(&client, n, length)));
        });
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(
    name = benches;
    config = short();
    targets = calls, streams
);
criterion_main!(benches);
