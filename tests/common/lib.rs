//! What the root package's tests, examples and benches share: a gateway of their own, and probes
//! that tell a test what happens inside a function on a node.

#![allow(missing_docs, clippy::missing_panics_doc)]

pub mod authority;
pub mod ended;
pub mod exposition;
pub mod gate;
pub mod hostile;
pub mod offered;
pub mod process;
pub mod proxy;
pub mod tool;
pub mod trio;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use easyremote::auth::DialOptions;
use easyremote::client::ClientBuilder;
use easyremote::gateway::GatewayBuilder;
use easyremote::node::{Functions, NodeBuilder};
use easyremote::{Client, Gateway, Node};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Compiles and runs what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// Compiles and runs what the pages of the guide show.
#[cfg(doctest)]
pub mod guide {
    #[cfg(feature = "mcp")]
    #[doc = include_str!("../../docs/agents.md")]
    pub struct Agents;

    #[doc = include_str!("../../docs/calls.md")]
    pub struct Calls;

    #[doc = include_str!("../../docs/errors.md")]
    pub struct Errors;

    #[doc = include_str!("../../docs/functions.md")]
    pub struct Functions;

    #[cfg(feature = "http")]
    #[doc = include_str!("../../docs/gpu-box.md")]
    pub struct GpuBox;

    #[cfg(feature = "http")]
    #[doc = include_str!("../../docs/http.md")]
    pub struct Http;

    #[doc = include_str!("../../docs/internals.md")]
    pub struct Internals;

    #[doc = include_str!("../../docs/middleware.md")]
    pub struct Middleware;

    #[doc = include_str!("../../docs/operations.md")]
    pub struct Operations;

    #[doc = include_str!("../../docs/other-languages.md")]
    pub struct OtherLanguages;

    #[doc = include_str!("../../docs/security.md")]
    pub struct Security;

    #[doc = include_str!("../../docs/streams.md")]
    pub struct Streams;

    #[doc = include_str!("../../docs/testing.md")]
    pub struct Testing;

    #[doc = include_str!("../../docs/types.md")]
    pub struct Types;

    #[doc = include_str!("../../docs/versions.md")]
    pub struct Versions;
}

/// A world of the library's test kit, whose node offers `functions`, and its client.
pub async fn serving(functions: Functions) -> (easyremote::testing::World, Client) {
    let world = easyremote::testing::World::builder().node(|node| node.functions(functions));
    let world = world.gateway(|gateway| gateway.threads(gateway_threads()));
    let world = world.client(|client| client.multiplex(multiplex())).serve();
    let world = soon(world).await.unwrap();
    let client = world.client().clone();
    (world, client)
}

/// A gateway on a free port, with an identity of its own, for tests to which [`serving`] has too much:
/// they start and end nodes and clients one by one, drop their handles, and count what a gateway
/// has, where the test kit keeps each node to its end and always has a client.
pub struct World {
    pub gateway: Gateway,
    state: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::of(|gateway| gateway).await
    }

    /// With settings of the gateway.
    pub async fn of(gateway: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let state = tempfile::tempdir().unwrap();
        let builder = crate::gateway_at("127.0.0.1:0").state_dir(state.path());
        Self { gateway: soon(gateway(builder).serve()).await.unwrap(), state }
    }

    pub fn node_builder(&self) -> NodeBuilder {
        Node::builder(self.gateway.local_addr()).dial(found_in(self.state.path()))
    }

    pub async fn node(&self, functions: Functions) -> Node {
        soon(self.node_builder().functions(functions).serve()).await.unwrap()
    }

    pub fn client_builder(&self) -> ClientBuilder {
        let client = Client::builder(self.gateway.local_addr()).dial(found_in(self.state.path()));
        client.multiplex(multiplex())
    }

    pub async fn client(&self) -> Client {
        soon(self.client_builder().connect()).await.unwrap()
    }

    /// Where the identity is, for peers in other processes.
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// Gateway, node and client, ready.
    pub async fn with(functions: Functions) -> (Self, Node, Client) {
        let world = Self::start().await;
        let node = world.node(functions).await;
        let client = world.client().await;
        (world, node, client)
    }
}

/// Whether small calls share a stream, unless a test says otherwise; with `TEST_MULTIPLEX=off` each
/// has a separate one.
pub fn multiplex() -> bool {
    std::env::var_os("TEST_MULTIPLEX").is_none_or(|value| value != "off")
}

/// How many threads a gateway has, unless a test says otherwise: one, or `TEST_GATEWAY_THREADS`.
pub fn gateway_threads() -> usize {
    std::env::var("TEST_GATEWAY_THREADS").map_or(1, |threads| threads.parse().unwrap())
}

/// A builder for a gateway with [`gateway_threads`].
pub fn gateway_at(address: impl ToString) -> GatewayBuilder {
    Gateway::builder(address).threads(gateway_threads())
}

/// Whether this is the run in which each kind takes as long as it has to.
pub fn kinds_long() -> bool {
    std::env::var_os("KINDS_LONG").is_some_and(|long| long == "1")
}

/// Whether a bench is only to show that it works, with as little as that takes: `-- --smoke`. Its figures
/// mean nothing then.
pub fn is_smoke() -> bool {
    std::env::args().any(|word| word == "--smoke")
}

/// Options for peers that find the identity of their gateway in `directory`.
pub fn found_in(directory: impl AsRef<Path>) -> DialOptions {
    DialOptions::new().state_dir(directory)
}

/// Options for peers that dial for `timeout`.
pub fn patient(timeout: Duration) -> DialOptions {
    DialOptions::new().connect_timeout(timeout)
}

/// Waits for what has to happen soon; panics if it does not.
pub async fn soon<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), event).await.expect("did not happen in a minute")
}

/// Waits until something that nothing announces has become true.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    soon(async {
        while !condition() {
            looks.tick().await;
        }
    })
    .await;
}

/// Keeps a call of each caller in flight for `during`. Returns the number of calls that have ended,
/// and the seconds that it took.
pub async fn keep_calling<C, F>(
    callers: impl IntoIterator<Item = C>,
    during: Duration,
    call: impl Fn(C) -> F + Clone + Send + 'static,
) -> (u64, f64)
where
    C: Send + 'static,
    F: Future<Output = C> + Send,
{
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let call = call.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while begun.elapsed() < during {
                caller = call(caller).await;
                done += 1;
            }
            done
        });
    }
    let done = tasks.join_all().await.into_iter().sum();
    (done, begun.elapsed().as_secs_f64())
}

static PROBES: LazyLock<Mutex<HashMap<u64, mpsc::UnboundedSender<&'static str>>>> =
    LazyLock::new(Mutex::default);

/// Hears what functions say with [`say`] that were given its key.
pub struct Probe {
    pub key: u64,
    heard: mpsc::UnboundedReceiver<&'static str>,
}

impl Probe {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let (say, heard) = mpsc::unbounded_channel();
        PROBES.lock().unwrap().insert(key, say);
        Self { key, heard }
    }

    /// Waits for the next thing that is said.
    pub async fn next(&mut self) -> &'static str {
        soon(self.heard.recv()).await.unwrap()
    }

    /// What has been said and not been heard yet.
    pub fn so_far(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

/// Says something to the probe with this key.
pub fn say(key: u64, what: &'static str) {
    if let Some(probe) = PROBES.lock().unwrap().get(&key) {
        let _ = probe.send(what);
    }
}

/// Says something when it is dropped.
pub struct SayOnDrop(pub u64, pub &'static str);

impl SayOnDrop {
    /// Says something before that.
    pub fn say(&self, what: &'static str) {
        say(self.0, what);
    }
}

impl Drop for SayOnDrop {
    fn drop(&mut self) {
        say(self.0, self.1);
    }
}
