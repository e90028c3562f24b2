//! easyremote beside those whom it could be replaced with, each as processes on loopback, everything
//! encrypted. `../README.md` says how to read what comes out.
//!
//! ```sh
//! cargo run --release --manifest-path benches/rivals/Cargo.toml -- [--runs 3] [--only nats,tonic]
//!     [--quick] [--runtime multi|current]
//! ```

mod caller;
mod measure;
mod options;
mod process;
mod rival;
mod rivals;
mod table;
mod tls;

use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::caller::Client;
use crate::options::{Options, Part};
use crate::rival::{Place, Rival, Shape};

/// Each party by its name, in the order of the table.
macro_rules! parties {
    ($($name:literal => $rival:ty,)*) => {
        /// Their names.
        const NAMES: &[(&str, Shape)] = &[$(($name, <$rival as Rival>::SHAPE)),*];

        /// Plays a role of the party of this name.
        async fn play_for(name: &str, part: Part) -> Result<()> {
            match name {
                $($name => play::<$rival>(part).await,)*
                name => bail!("nobody is called `{name}`"),
            }
        }
    };
}

parties! {
    "easyremote" => rivals::easyremote::Easyremote,
    "nats" => rivals::nats::Nats,
    "tonic-gateway" => rivals::tonic::TonicGateway,
    "quinn-relay" => rivals::quinn_relay::QuinnRelay,
    "quinn-lane" => rivals::quinn_lane::QuinnLane,
    "quinn" => rivals::quinn_direct::QuinnDirect,
    "tarpc" => rivals::tarpc::Tarpc,
    "tonic" => rivals::tonic::Tonic,
}

fn main() -> Result<()> {
    tls::choose_provider();
    let options = Options::read(std::env::args().skip(1))?;
    match options.part.clone() {
        Some(part) => options.runtime()?.block_on(play_for(&options.only.join(","), part)),
        None => drive(&options),
    }
}

/// Runs everybody in turn, so that a change of the machine's mood is everybody's.
fn drive(options: &Options) -> Result<()> {
    let mut parties: Vec<_> =
        NAMES.iter().copied().filter(|(name, _)| options.wants(name)).collect();
    if parties.iter().any(|(name, _)| *name == "nats") && !rivals::nats::is_installed() {
        println!("`nats-server` is not on the PATH: NATS is left out.\n");
        parties.retain(|(name, _)| *name != "nats");
    }
    if !process::can_pin() {
        println!("`taskset` is not on the PATH: nothing is measured on one processor.\n");
    }
    let mut table = table::Table::default();
    for run in 1..=options.runs {
        for &(name, shape) in &parties {
            eprintln!("run {run} of {}: {name}", options.runs);
            measure::run(name, shape, options, &mut table)?;
        }
    }
    let names: Vec<_> = parties.iter().map(|(name, _)| *name).collect();
    println!("{}", table.markdown(&names, options));
    Ok(())
}

/// In a child: plays a role until the driver is gone.
async fn play<R: Rival>(part: Part) -> Result<()>
where
    Client<R>: Send + 'static,
{
    let Part { role, target, directory } = part;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let direct = R::SHAPE != Shape::Broker && role == "node";
    let place = Place { target: if direct { anywhere } else { target }, directory };
    let _running = match role.as_str() {
        "middle" => R::middle(place).await?,
        "node" => R::node(place).await?,
        "client" => {
            let mut client = Client::<R>::connect(place).await?;
            process::say_ready(target);
            while let Some(question) = process::next_question().await {
                // As a task, as most of a program is, and not on the thread of `main`.
                let answering = tokio::spawn(async move {
                    let answer = client.answer(&question).await;
                    (client, answer)
                });
                let (back, answer) = answering.await?;
                client = back;
                process::say_answer(answer);
            }
            return Ok(());
        }
        role => bail!("there is no role `{role}`"),
    };
    process::say_ready(_running.address);
    while process::next_question().await.is_some() {}
    Ok(())
}
