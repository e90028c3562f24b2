//! `easyremote stream`: items as JSON lines.

use clap::ArgMatches;
use easyremote::CallError;
use easyremote::client::{JsonError, JsonStream};
use futures::StreamExt;
use serde_json::Value;

use crate::arguments;
use crate::connect::connect;
use crate::exit::Failure;
use crate::json_text::escaped;
use crate::options::{CommonOptions, StreamOptions};
use crate::output::Output;
use crate::plot;

/// Reads a stream, and writes each item as soon as it arrives.
///
/// An error of one item goes to standard error, and the stream goes on; the exit code tells of it
/// at the end.
pub(crate) async fn stream(
    common: &CommonOptions,
    stream: StreamOptions,
    flags: Option<&ArgMatches>,
    output: &Output,
) -> Result<(), Failure> {
    let operators = operators(&stream, flags);
    let StreamOptions { target, buffer, resumable, plot, .. } = stream;
    let options = target.options();
    let arguments = arguments::read(target.arguments).await?;
    let client = connect(common).await?.with(options);
    let mut items = client.stream_json(&target.function, arguments);
    for operator in operators {
        items = operator.apply(items);
    }
    if let Some(bytes) = buffer {
        items = items.buffer(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    if resumable {
        items = items.resumable();
    }
    match plot {
        Some(field) => plot::plot(items, &field, &target.function, output).await,
        None => write_items(items, output).await,
    }
}

async fn write_items(items: JsonStream, output: &Output) -> Result<(), Failure> {
    /// Items that are written at once, if they are there.
    const AT_ONCE: usize = 256;
    let mut failed = None;
    let mut chunks = items.ready_chunks(AT_ONCE);
    while let Some(chunk) = chunks.next().await {
        let mut text = String::new();
        for item in chunk {
            match item {
                Ok(item) => push_line(&mut text, &item),
                Err(error) => {
                    // In their order, where both go to one terminal.
                    output.text(std::mem::take(&mut text)).await?;
                    let failure = failure_of(error);
                    output.failure(&failure);
                    failed = Some(Failure::Told(failure.code()));
                }
            }
        }
        output.text(text).await?;
    }
    failed.map_or(Ok(()), Err)
}

fn push_line(text: &mut String, item: &Value) {
    text.push_str(&escaped(item.to_string()));
    text.push('\n');
}

fn failure_of(error: CallError<JsonError>) -> Failure {
    error.into()
}

/// An operator of the stream, as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OperatorFlag {
    Take(usize),
    Skip(usize),
    Every(usize),
    Sample(std::time::Duration),
    Latest,
    Dedup,
    Batches(usize, std::time::Duration),
}

impl OperatorFlag {
    fn apply(self, items: JsonStream) -> JsonStream {
        match self {
            Self::Take(n) => items.take(n),
            Self::Skip(n) => items.skip(n),
            Self::Every(n) => items.every(n),
            Self::Sample(interval) => items.sample(interval),
            Self::Latest => items.latest(),
            Self::Dedup => items.dedup(),
            Self::Batches(n, wait) => items.batches(n, wait),
        }
    }
}

/// The operators in the order in which they stand on the command line.
fn operators(stream: &StreamOptions, flags: Option<&ArgMatches>) -> Vec<OperatorFlag> {
    let mut found = Vec::new();
    let mut add = |id: &str, operators: Vec<OperatorFlag>| {
        let places = flags.and_then(|flags| flags.indices_of(id)).into_iter().flatten();
        found.extend(places.zip(operators));
    };
    add("take", stream.take.iter().copied().map(OperatorFlag::Take).collect());
    add("skip", stream.skip.iter().copied().map(OperatorFlag::Skip).collect());
    add("every", stream.every.iter().copied().map(OperatorFlag::Every).collect());
    add("sample", stream.sample.iter().copied().map(OperatorFlag::Sample).collect());
    add("latest", stream.latest.iter().map(|_| OperatorFlag::Latest).collect());
    add("dedup", stream.dedup.iter().map(|_| OperatorFlag::Dedup).collect());
    let batches = stream.batches.iter();
    add("batches", batches.map(|(n, wait)| OperatorFlag::Batches(*n, *wait)).collect());
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, operator)| operator).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::options::{Command, Invocation};

    #[test]
    fn operators_keep_their_order() {
        let line = "easyremote stream f --latest --skip 1 --take 5 7 --skip 2 --dedup --sample 1s \
                    --batches 3,5ms --every 4 --dedup --latest";
        let matches = Invocation::command().try_get_matches_from(line.split_whitespace()).unwrap();
        let invocation = Invocation::from_arg_matches(&matches).unwrap();
        let Command::Stream(stream) = invocation.command else { panic!("not a stream") };
        assert_eq!(stream.target.arguments, ["7"]);
        assert_eq!(
            operators(&stream, matches.subcommand_matches("stream")),
            [
                OperatorFlag::Latest,
                OperatorFlag::Skip(1),
                OperatorFlag::Take(5),
                OperatorFlag::Skip(2),
                OperatorFlag::Dedup,
                OperatorFlag::Sample(Duration::from_secs(1)),
                OperatorFlag::Batches(3, Duration::from_millis(5)),
                OperatorFlag::Every(4),
                OperatorFlag::Dedup,
                OperatorFlag::Latest,
            ]
        );
    }
}
