//! What each process does: it answers questions, a line each.

use std::future::pending;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::keep_calling;
use common::process::{question, tell};
use easyremote::auth::DialOptions;
use easyremote::node::NodeBuilder;
use easyremote::{Client, Gateway, Node, StreamCall, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::task::JoinSet;

/// Names of what a process finds in its environment.
pub(crate) const PART: &str = "SCALE_PART";
pub(crate) const ADDRESS: &str = "SCALE_ADDRESS";
pub(crate) const DIRECTORY: &str = "SCALE_DIRECTORY";

/// Calls, streams and functions of one peer; a client may have 1,024 open, and a node may offer
/// 1,024 functions.
const PER_PEER: usize = 1_000;

/// Peers that connect at a time.
const CONNECTING: usize = 16;

#[remote]
async fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[remote]
async fn hold() {
    pending().await
}

#[remote(stream)]
fn silence() -> impl Stream<Item = u64> {
    stream::iter([0]).chain(stream::pending())
}

/// Has many instances, each with a function of its own.
struct Many;

#[remote]
impl Many {
    async fn get(&self) -> u64 {
        0
    }
}

/// In a child: plays its part, and does not return.
pub(crate) fn play() {
    let Ok(part) = std::env::var(PART) else { return };
    let environment = |name| std::env::var(name).unwrap();
    let place = Place { address: environment(ADDRESS), directory: environment(DIRECTORY) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        match part.as_str() {
            "gateway" => gateway(place).await,
            "nodes" => nodes(place).await,
            _ => Clients::connect(place).await.serve().await,
        }
    });
    std::process::exit(0);
}

/// Where everybody finds the gateway.
struct Place {
    address: String,
    directory: String,
}

impl Place {
    async fn client(&self) -> Client {
        let builder =
            Client::builder(&*self.address).dial(DialOptions::new().state_dir(&self.directory));
        builder
            .dial(DialOptions::new().connect_timeout(Duration::from_secs(60)))
            .connect()
            .await
            .unwrap()
    }

    /// A node with the functions that are called.
    async fn node(&self) -> Node {
        self.builder().functions(functions![echo, hold, silence]).serve().await.unwrap()
    }

    /// A node with as many others as there are names.
    async fn other_node(&self, names: impl Iterator<Item = String>) -> Node {
        let builder = names.fold(self.builder(), |builder, name| builder.instance(name, Many));
        builder.functions(functions![Many]).serve().await.unwrap()
    }

    fn builder(&self) -> NodeBuilder {
        let builder =
            Node::builder(&*self.address).dial(DialOptions::new().state_dir(&self.directory));
        builder.dial(DialOptions::new().connect_timeout(Duration::from_secs(60)))
    }
}

async fn gateway(place: Place) {
    let builder = Gateway::builder(place.address).state_dir(place.directory);
    let gateway = builder.serve().await.unwrap();
    tell(format_args!("ready {}", gateway.local_addr()));
    while question().await.is_some() {}
}

/// Divides `nodes 100` or the like.
fn read(question: &str) -> (&str, usize) {
    let (kind, n) = question.split_once(' ').unwrap();
    (kind, n.parse().unwrap())
}

/// Of the nodes: `nodes N` is for so many that offer what is called, `others N` for so many that do
/// not, and `functions N` for so many functions of those.
async fn nodes(place: Place) {
    let (mut nodes, mut others, mut functions) = (Vec::new(), Vec::new(), 0);
    tell("ready nodes");
    while let Some(question) = question().await {
        let (kind, n) = read(&question);
        match kind {
            "nodes" => {
                let missing = stream::iter(nodes.len()..n.max(nodes.len()));
                let more = missing.map(|_| place.node()).buffer_unordered(CONNECTING);
                nodes.extend(more.collect::<Vec<_>>().await);
            }
            "others" => {
                let missing = stream::iter(others.len()..n.max(others.len()));
                let more = missing.map(|i| place.other_node([format!("other{i}")].into_iter()));
                others.extend(more.buffer_unordered(CONNECTING).collect::<Vec<_>>().await);
            }
            _ => {
                while functions < n {
                    let end = n.min(functions + PER_PEER);
                    let names = (functions..end).map(|i| format!("f{i}"));
                    others.push(place.other_node(names).await);
                    functions = end;
                }
            }
        }
        tell(format_args!("{question} done"));
    }
}

/// All clients.
struct Clients {
    place: Place,
    /// Makes the calls that are measured.
    prober: Client,
    idle: Vec<Client>,
    /// Calls under way, on the last of `idle`.
    calls: JoinSet<()>,
    streams: Vec<StreamCall<silence>>,
}

impl Clients {
    async fn connect(place: Place) -> Self {
        let prober = place.client().await;
        tell("ready clients");
        Self { place, prober, idle: Vec::new(), calls: JoinSet::new(), streams: Vec::new() }
    }

    async fn serve(mut self) {
        while let Some(question) = question().await {
            let (kind, n) = read(&question);
            let during = Duration::from_millis(n as u64);
            let answer = match kind {
                "latency" => self.latency(during).await,
                "rate" => self.rate(during).await,
                "idle" => self.connect_idle(n).await,
                "calls" => self.hold_calls(n).await,
                _ => self.hold_streams(n).await,
            };
            tell(format_args!("{question} {answer}"));
        }
    }

    async fn latency(&self, during: Duration) -> String {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < during {
            let begun = Instant::now();
            echo::call(&self.prober, Bytes::from_static(&[7; 64])).await.unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_unstable_by(f64::total_cmp);
        format!("{} {}", times[times.len() / 2], times[times.len() * 99 / 100])
    }

    async fn rate(&self, during: Duration) -> String {
        let call = |client: Client| async move {
            echo::call(&client, Bytes::from_static(&[7; 64])).await.unwrap();
            client
        };
        let (done, seconds) = keep_calling(vec![self.prober.clone(); 64], during, call).await;
        format!("{done} {seconds}")
    }

    async fn connect_idle(&mut self, n: usize) -> String {
        let missing = n.saturating_sub(self.idle.len());
        let more = stream::iter(0..missing).map(|_| self.place.client());
        self.idle.extend(more.buffer_unordered(CONNECTING).collect::<Vec<_>>().await);
        String::from("done")
    }

    /// Makes calls that do not end until there are `n`.
    async fn hold_calls(&mut self, n: usize) -> String {
        while self.calls.len() < n {
            let client = self.client_for(self.calls.len()).await;
            self.calls.spawn(async move { hold::call(&client).await.unwrap() });
        }
        String::from("done")
    }

    /// Opens streams until there are `n`.
    async fn hold_streams(&mut self, n: usize) -> String {
        while self.streams.len() < n {
            let client = self.client_for(self.streams.len()).await;
            let mut stream = silence::call(&client);
            stream.next().await.unwrap().unwrap();
            self.streams.push(stream);
        }
        String::from("done")
    }

    /// A new one for each thousand.
    async fn client_for(&mut self, number: usize) -> Client {
        if number.is_multiple_of(PER_PEER) {
            self.idle.push(self.place.client().await);
        }
        self.idle[self.idle.len() - 1].clone()
    }
}
