//! A neural network on a node: it removes the noise from speech while it is spoken.
//!
//! The network is RNNoise, whose weights come with the crate `nnnoiseless`. Gateway, node and
//! callers are in one process:
//!
//! ```text
//! cargo run --release -p denoiser                            # four callers, speech that is made
//! cargo run --release -p denoiser -- make noisy.wav          # writes such speech to a file
//! cargo run --release -p denoiser -- noisy.wav clean.wav     # denoises a file
//! ```
//!
//! Or apart, here or on several machines, with the tickets that `cargo run --example gateway`
//! prints:
//!
//! ```text
//! cargo run --release -p denoiser -- node TICKET
//! cargo run --release -p denoiser -- client TICKET noisy.wav clean.wav
//! ```

mod client;
mod network;
mod quality;
mod voice;
mod wav;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use easyremote::auth::IntoGateways;
use easyremote::{Client, Gateway, Node, functions};
use futures::future::try_join_all;
use futures::{StreamExt, stream};
use nnnoiseless::RnnModel;

use crate::network::{SAMPLE_RATE, denoise};
use crate::quality::Quality;
use crate::voice::Recording;

/// Anything that went wrong, to be told to a person.
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "\
denoiser                                 four callers, on speech that is made
denoiser make OUT.wav                    writes such speech
denoiser IN.wav [OUT.wav]                denoises a file
denoiser node TICKET                     offers the network, until Ctrl-C
denoiser client TICKET IN.wav [OUT.wav]  denoises a file on that node";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[&str]) -> Result<(), Failure> {
    match *arguments {
        [] => four_callers().await,
        ["make", output] => wav::write(output, &[Recording::new(0, 10.0).noisy]),
        ["node", gateway] => {
            let node = serve(gateway).await?;
            println!("{} is registered", node.id());
            easyremote::shutdown_signal().await;
            node.drain(Duration::from_secs(30)).await;
            Ok(())
        }
        ["client", gateway, input, ref output @ ..] if output.len() <= 1 => {
            let client = Client::connect(gateway).await?;
            file(&client, input, output.first().copied()).await
        }
        [input, ref output @ ..] if output.len() <= 1 && input.ends_with(".wav") => {
            let gateway = Gateway::serve("127.0.0.1:0").await?;
            let _node = serve(gateway.local_addr()).await?;
            let client = Client::connect(gateway.local_addr()).await?;
            file(&client, input, output.first().copied()).await
        }
        _ => Err(USAGE.into()),
    }
}

/// Starts a node that offers the network.
async fn serve(gateway: impl IntoGateways) -> Result<Node, easyremote::Error> {
    let weights = RnnModel::default();
    Node::builder(gateway).state(weights).functions(functions![denoise]).serve().await
}

/// Four people speak at once, and each of them calls.
async fn four_callers() -> Result<(), Failure> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let _node = serve(address).await?;
    let speakers: Vec<_> = (0..4).map(|seed| Recording::new(seed, 4.0)).collect();
    println!("four people speak for 4 s, each beside a fan");
    let n_samples = speakers.iter().map(|speaker| speaker.noisy.len()).sum();

    // `#[remote]` keeps the function as it is, so it runs here as well.
    let (weights, start, mut alone) = (RnnModel::default(), Instant::now(), Vec::new());
    for speaker in &speakers {
        let frames = stream::iter(client::frames(&speaker.noisy));
        alone.push(denoise(&weights, frames).concat().await);
    }
    print_speed("here", n_samples, start.elapsed());

    let (client, start) = (Client::connect(address).await?, Instant::now());
    for (speaker, alone) in speakers.iter().zip(&alone) {
        let clean = client::recorded(&client, &speaker.noisy).await?;
        assert!(clean == *alone, "the node computes something else");
    }
    print_speed("on the node", n_samples, start.elapsed());

    let calls = speakers.iter().map(|speaker| async {
        let client = Client::connect(address).await?;
        client::live(&client, &speaker.noisy).await
    });
    let (clean, latencies): (Vec<_>, Vec<_>) = try_join_all(calls).await?.into_iter().unzip();
    print_latencies(clean.len(), latencies.concat());
    for ((clean, alone), speaker) in clean.iter().zip(&alone).zip(&speakers) {
        assert!(clean == alone, "a call has heard another one");
        let before = Quality::of(&speaker.noisy, &speaker.clean);
        let after = Quality::of(clean, &speaker.clean);
        println!(
            "  signal to noise {:.1} dB -> {:.1} dB, pauses {:.1} dB -> {:.1} dB",
            before.signal_to_noise, after.signal_to_noise, before.pauses, after.pauses
        );
    }
    println!("each call has got what it gets alone, bit for bit");
    Ok(())
}

/// Denoises a file, each channel with a call of its own, and then its beginning once more, live.
async fn file(client: &Client, input: &str, output: Option<&str>) -> Result<(), Failure> {
    let channels = wav::read(input)?;
    let start = Instant::now();
    let calls = channels.iter().map(|channel| client::recorded(client, channel));
    let clean = try_join_all(calls).await?;
    print_speed("on the node", channels.concat().len(), start.elapsed());
    if let Some(output) = output {
        wav::write(output, &clean)?;
    }

    let beginnings = channels.iter().map(|channel| channel.chunks(3 * SAMPLE_RATE as usize).next());
    let calls = beginnings.flatten().map(|beginning| client::live(client, beginning));
    let latencies: Vec<_> =
        try_join_all(calls).await?.into_iter().map(|(_, times)| times).collect();
    print_latencies(latencies.len(), latencies.concat());
    Ok(())
}

/// Prints the real-time factor: the time that it takes to denoise a second.
fn print_speed(place: &str, n_samples: usize, took: Duration) {
    let (audio, took) = (n_samples as f64 / f64::from(SAMPLE_RATE), took.as_secs_f64());
    println!("{place}: {audio:.1} s of sound in {took:.2} s, real-time factor {:.3}", took / audio);
}

/// Prints how long the answers to live frames took.
fn print_latencies(n_calls: usize, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let part =
        |percent| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "live, {n_calls} calls at once: a frame of 10 ms is answered after {:.1?} (p50), {:.1?} (p99)",
        part(50),
        part(99)
    );
}
