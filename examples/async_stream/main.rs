//! The test environment of the Python framework EasyRemote, with typed structs: four functions and
//! four live streams, called between three processes.
//!
//! `cargo run --example async_stream` starts a gateway, a node and a client, runs every scenario
//! and prints a report; `cargo run --example async_stream -- --help` shows how to run the roles one
//! by one, over terminals or machines.

// An example talks to the person who runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod cli;
mod client;
mod functions;
mod processes;
mod report;
mod roles;
mod scenarios;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::cli::Command;

/// Anything that went wrong, to be told to a person.
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Command::parse(std::env::args().skip(1)) {
        Ok(command) => run(command).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of the output has closed it: `.. | head` is not a failure.
        Err(failure) if is_broken_pipe(&*failure) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", with_causes(&*failure));
            ExitCode::FAILURE
        }
    }
}

/// Runs `command`. Returns whether it succeeded.
async fn run(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Everything { jsonl } => processes::run(jsonl).await,
        Command::Gateway { attached } => roles::gateway(attached).await.map(|()| true),
        Command::Node { attached } => roles::node(attached).await.map(|()| true),
        Command::Client { function, arguments, jsonl } => {
            client::run(function, arguments, jsonl).await
        }
        Command::Scenarios { attached, jsonl } => roles::scenarios(attached, jsonl).await,
        Command::Help => {
            println!("{}", cli::HELP);
            Ok(true)
        }
    }
}

fn is_broken_pipe(failure: &(dyn Error + 'static)) -> bool {
    let io = failure.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn with_causes(failure: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(failure), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
