//! The command-line tool `easyremote`: calls functions, watches nodes, and serves a gateway.
//!
//! It stands above the library and uses its public API only, as a user's program does.

#![forbid(unsafe_code)]

mod arguments;
mod attach;
mod call;
mod connect;
mod doctor;
mod exit;
mod gateway;
mod generate;
mod jobs;
mod json_text;
mod list;
mod mcp;
mod open;
mod options;
mod output;
mod plot;
mod screen;
mod stop;
mod stream;
mod table;
mod ticket;
mod token;
mod top;
mod units;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::exit::Failure;
use crate::options::{Command, Invocation};
use crate::output::Output;

fn main() -> ExitCode {
    let read = Invocation::command().try_get_matches().and_then(|matches| {
        let invocation = Invocation::from_arg_matches(&matches)?;
        Ok((matches, invocation))
    });
    let (matches, invocation) = match read {
        Ok(read) => read,
        Err(error) => return misused(&error),
    };
    let output = Output::new(invocation.common.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match &runtime {
        Ok(runtime) => runtime.block_on(run(invocation, &matches, &output)),
        Err(error) => Err(Failure::Local(format!("cannot start: {error}"))),
    };
    if let Ok(runtime) = runtime {
        // A reader that has stopped may keep a write waiting.
        runtime.shutdown_background();
    }
    ExitCode::from(match outcome {
        Ok(()) => exit::OK,
        Err(failure) => {
            output.failure(&failure);
            failure.code()
        }
    })
}

/// Tells what is wrong with the options. Help and versions come here too: they go to standard
/// output, and are no failure.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(exit::OK);
    }
    // There are no options to ask yet.
    if std::env::args_os().any(|word| word == "--json") {
        Output::new(true).failure(&Failure::Usage(error.to_string()));
    } else {
        let _ = error.print();
    }
    ExitCode::from(exit::USAGE)
}

/// Runs the command until it has ended, or a signal ends it: then calls and streams are dropped,
/// which cancels them at their nodes.
async fn run(invocation: Invocation, matches: &ArgMatches, output: &Output) -> Result<(), Failure> {
    let Invocation { common, command } = invocation;
    if let Command::Gateway(serving) = command {
        return gateway::serve(&common, serving, output).await;
    }
    if let Command::Attach(attach) = command {
        return attach::attach(&common, attach, output).await;
    }
    let stream_flags = matches.subcommand_matches("stream");
    let command = async {
        match command {
            Command::Gateway(_) | Command::Attach(_) => Ok(()),
            Command::Ls(ls) => list::ls(&common, &ls, output).await,
            Command::Describe(describe) => list::describe(&common, &describe, output).await,
            Command::Call(call) => call::call(&common, call, output).await,
            Command::Stream(stream) => stream::stream(&common, stream, stream_flags, output).await,
            Command::Mcp => mcp::mcp(&common).await,
            Command::Jobs(jobs) => jobs::jobs(&common, jobs, output).await,
            Command::Top(top) => top::top(&common, &top, output).await,
            Command::Doctor(doctor) => doctor::doctor(&common, &doctor, output).await,
            Command::Open(open) => open::open(&common, &open, output).await,
            Command::Ticket(ticket) => ticket::ticket(&common, ticket, output).await,
            Command::Gen(gen_options) => generate::generate(&common, &gen_options, output).await,
            Command::Token(token) => token::token(&common, &token, output).await,
            Command::Completions { shell } => completions(shell, output).await,
        }
    };
    tokio::select! {
        biased;
        code = stop::signal() => Err(Failure::Signal(code)),
        outcome = command => outcome,
    }
}

async fn completions(shell: clap_complete::Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Invocation::command(), "easyremote", &mut script);
    output.text(String::from_utf8_lossy(&script).into_owned()).await
}
