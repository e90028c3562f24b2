//! A training run that goes on without the program that has started it.
//!
//! A node trains a small neural network: two layers that learn to tell two spirals apart, by
//! gradient descent. The first program starts the run as a job, notes the job's id, and ends. The
//! second one finds the job by its id, follows its progress, and fetches the network.

use std::net::SocketAddr;
use std::time::Duration;

use easyremote::client::{Job, JobId};
use easyremote::{Client, Context, Error, Gateway, Node, functions, remote};
use serde::{Deserialize, Serialize};

/// Neurons between input and output.
const HIDDEN: usize = 24;

/// Points of each spiral.
const POINTS: usize = 100;

/// A network of two layers: `tanh` in the middle, and the sign of the output tells the spiral.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Network {
    inner: Vec<[f64; 3]>,
    outer: Vec<f64>,
}

/// A random number from -1 to 1, by xorshift (Marsaglia, 2003): the run can be repeated.
fn random(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// The points of both spirals, and which one each belongs to: -1 or 1.
fn spirals(seed: u64) -> Vec<([f64; 2], f64)> {
    let mut state = seed.max(1);
    let mut point = |n: usize, side: f64| {
        let turn = n as f64 / POINTS as f64 * 4.0;
        let (sin, cos) = (turn + random(&mut state) / 20.0).sin_cos();
        let radius = side * (0.2 + turn / 4.0);
        ([radius * cos, radius * sin], side)
    };
    (0..POINTS).flat_map(|n| [point(n, -1.0), point(n, 1.0)]).collect()
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut state = seed.max(1);
        let mut weight = || 2.0 * random(&mut state);
        let inner = (0..HIDDEN).map(|_| [weight(), weight(), weight()]).collect();
        Self { inner, outer: (0..=HIDDEN).map(|_| weight() / 4.0).collect() }
    }

    /// The output of each neuron in the middle, and of the network.
    fn run(&self, [x, y]: [f64; 2]) -> (Vec<f64>, f64) {
        let neuron = |[a, b, c]: &[f64; 3]| (a * x + b * y + c).tanh();
        let hidden: Vec<f64> = self.inner.iter().map(neuron).collect();
        let sum: f64 = hidden.iter().zip(&self.outer).map(|(value, weight)| value * weight).sum();
        (hidden, (sum + self.outer[HIDDEN]).tanh())
    }

    /// Moves the weights against the gradient of the squared error at one point. Returns the error.
    fn learn(&mut self, point: [f64; 2], wanted: f64, rate: f64) -> f64 {
        let (hidden, output) = self.run(point);
        let slope = (output - wanted) * (1.0 - output * output);
        for ((value, weight), inner) in hidden.iter().zip(&mut self.outer).zip(&mut self.inner) {
            let back = slope * *weight * (1.0 - value * value);
            *weight -= rate * slope * value;
            for (part, input) in inner.iter_mut().zip([point[0], point[1], 1.0]) {
                *part -= rate * back * input;
            }
        }
        self.outer[HIDDEN] -= rate * slope;
        (output - wanted).powi(2)
    }

    /// The part of the points that the network puts on the right spiral.
    fn accuracy(&self, points: &[([f64; 2], f64)]) -> f64 {
        let right = points.iter().filter(|(point, side)| self.run(*point).1 * side > 0.0);
        right.count() as f64 / points.len() as f64
    }
}

/// Trains a network. A plain sync function: the node runs it on a thread of its own.
#[remote]
fn train(#[ctx] ctx: &Context, epochs: u32, seed: u64) -> Network {
    let (points, mut network) = (spirals(seed), Network::new(seed));
    for epoch in 0..epochs {
        // A thread cannot be stopped from outside: it looks whether the job was cancelled.
        if ctx.is_cancelled() {
            break;
        }
        let loss: f64 = points.iter().map(|(at, side)| network.learn(*at, *side, 0.05)).sum();
        let loss = loss / points.len() as f64;
        ctx.progress(f64::from(epoch + 1) / f64::from(epochs), format!("loss {loss:.4}"));
    }
    network
}

/// The first program: starts the run, and keeps nothing but the text of its id.
async fn start(gateway: SocketAddr) -> Result<String, Error> {
    let client = Client::connect(gateway).await?;
    let job = train::call(&client, 3_000, 7).spawn().await?;
    Ok(job.id().to_string())
}

/// The second program: finds the run again.
async fn collect(gateway: SocketAddr, id: &str) -> Result<Network, Error> {
    let client = Client::connect(gateway).await?;
    let job: Job<train> = client.job(&id.parse::<JobId>()?);
    loop {
        let status = job.status().await?;
        if let Some(progress) = &status.progress {
            println!("{:3.0} %  {}", 100.0 * progress.fraction, progress.text);
        }
        if status.state.is_ended() {
            return job.result().await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let node = Node::builder(gateway.local_addr()).id("trainer").functions(functions![train]);
    let node = node.serve().await?;

    let id = start(gateway.local_addr()).await?;
    println!("started {id}\nits client is gone");
    let network = collect(gateway.local_addr(), &id).await?;
    let accuracy = network.accuracy(&spirals(4_711));
    println!("{:.1} % of unknown points are on the right spiral", 100.0 * accuracy);
    assert!(accuracy > 0.9, "the network has not learned");

    // Nothing is lost: the job has ended, and its result was collected.
    let lost = node.drain(Duration::from_secs(30)).await;
    println!("{} jobs lost", lost.len());
    Ok(())
}
