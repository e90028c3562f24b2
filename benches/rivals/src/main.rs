//! easyremote beside those whom it could be replaced with, each as processes on loopback, everything
//! encrypted. `../README.md` says how to read what comes out.
//!
//! ```sh
//! cargo run --release --manifest-path benches/rivals/Cargo.toml -- [--runs 3] [--only nats,tonic]
//!     [--rows latency,open] [--ratio nats] [--quick] [--smoke] [--runtime multi|current|both]
//! ```

mod allocations;
mod caller;
mod measure;
mod options;
mod process;
mod ratio;
mod rival;
mod rivals;
mod table;
mod tls;

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use crate::caller::{Client, call_once};
use crate::measure::{Known, PARTS, Party};
use crate::options::{Effort, Options, Part, Runtime};
use crate::rival::{ANYWHERE, Place, Rival};

/// Each party by its name, in the order of the table.
macro_rules! parties {
    ($($name:literal => $rival:ty,)*) => {
        /// Who they are.
        const KNOWN: &[Known] = &[$(Known {
            name: $name,
            shape: <$rival as Rival>::SHAPE,
            own_middle: <$rival as Rival>::OWN_MIDDLE,
        }),*];

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
    "easyremote" => rivals::easyremote::Easyremote<false>,
    "easyremote-thread" => rivals::easyremote::Easyremote<true>,
    "nats" => rivals::nats::Nats,
    "tonic-gateway" => rivals::tonic::TonicGateway,
    "quinn-relay" => rivals::quinn_relay::QuinnRelay,
    "quinn-lane" => rivals::quinn_lane::QuinnLane,
    "quinn" => rivals::quinn_direct::QuinnDirect,
    "tarpc" => rivals::tarpc::Tarpc,
    "tonic" => rivals::tonic::Tonic,
}

fn main() -> Result<ExitCode> {
    tls::choose_provider();
    let options = Options::read(std::env::args().skip(1))?;
    if let Some(part) = options.part.clone() {
        let name = options.only.join(",");
        options.runtimes[0].build()?.block_on(play_for(&name, part))?;
        return Ok(ExitCode::SUCCESS);
    }
    for name in options.only.iter().chain(&options.ratio) {
        ensure!(KNOWN.iter().any(|known| known.name == name), "nobody is called `{name}`");
    }
    for rows in &options.rows {
        let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
        ensure!(names.contains(&rows.as_str()), "`--rows` are some of {}", names.join(","));
    }
    process::allow_files()?;
    let mut parties: Vec<_> =
        KNOWN.iter().copied().filter(|known| options.wants(known.name)).collect();
    if parties.iter().any(|known| known.name == "nats") && !rivals::nats::is_installed() {
        println!("`nats-server` is not on the PATH: NATS is left out.\n");
        parties.retain(|known| known.name != "nats");
    }
    if !process::can_pin() {
        println!("`taskset` is not on the PATH: nothing is measured on one processor.\n");
    }
    if options.effort == Effort::Smoke {
        println!("A smoke run: it shows that all of it works, and its figures mean nothing.\n");
    }
    let mut is_complete = true;
    for &runtime in &options.runtimes {
        is_complete &= drive(&options, &parties, runtime);
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs everybody in turn, so that a change of the machine's mood is everybody's. Whether easyremote
/// has a value in every row.
fn drive(options: &Options, parties: &[Known], runtime: Runtime) -> bool {
    let mut table = table::Table::default();
    for run in 1..=options.runs {
        table.next_run();
        for &known in parties {
            eprintln!("runtime {runtime}, run {run} of {}: {}", options.runs, known.name);
            Party { known, options, runtime }.run(&mut table);
        }
    }
    let names: Vec<_> = parties.iter().map(|known| known.name).collect();
    println!("{}", table.markdown(&names, runtime));
    if let Some(rival) = &options.ratio {
        println!("{}", ratio::markdown(&table, rival, runtime));
    }
    let missing = match names.contains(&OURS) {
        true => table.missing(OURS),
        false => Vec::new(),
    };
    for row in &missing {
        eprintln!("{OURS} on runtime {runtime} has nothing for: {row}");
    }
    missing.is_empty()
}

/// The party that may lack nothing.
const OURS: &str = "easyremote";

/// In a child: plays a role until the driver is gone.
async fn play<R: Rival>(part: Part) -> Result<()>
where
    Client<R>: Send + 'static,
{
    let Part { role, targets, directory } = part;
    let place = Place { targets, directory };
    let running = match role.as_str() {
        "middle" => R::middle(place).await?,
        "node" => R::node(place).await?,
        "once" => return call_once::<R>(place).await,
        "client" => {
            let mut client = Client::<R>::connect(place).await?;
            process::say_ready(ANYWHERE);
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
    process::say_ready(running.address);
    while process::next_question().await.is_some() {}
    Ok(())
}
