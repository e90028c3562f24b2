//! The command line.

use crate::Failure;

/// The command to run.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Gateway, node and scenarios, as three separate processes.
    Everything {
        jsonl: bool,
    },
    Gateway {
        attached: bool,
    },
    Node {
        attached: bool,
    },
    /// A list of the functions, or a call of one of them.
    Client {
        function: Option<String>,
        arguments: Option<String>,
        jsonl: bool,
    },
    /// The scenarios, against a running gateway and node.
    Scenarios {
        attached: bool,
        jsonl: bool,
    },
    Help,
}

/// The environment variable with the address of the gateway.
pub(crate) const GATEWAY: &str = "EASYREMOTE_GATEWAY";
const DEFAULT_GATEWAY: &str = "127.0.0.1:8080";

pub(crate) const HELP: &str = r#"The test environment of EasyRemote: functions and live streams.

cargo run --example async_stream                       run every scenario and print a report
cargo run --example async_stream -- ROLE [OPTIONS]     run one role

Roles:
  gateway                          listen, until ctrl-c
  node                             offer the functions, until ctrl-c
  client                           list the functions
  client FUNCTION [ARGUMENTS]      call one; ARGUMENTS is a JSON array, by position, or a JSON
                                   object, by name; those left out have their defaults
  scenarios                        run every scenario against a running gateway and node

Options:
  --jsonl       print one JSON object a line: functions, results, items, scenarios
  --attached    also end when standard input closes
  --help        print this

The gateway is at $EASYREMOTE_GATEWAY (host:port, or a ticket), or else at 127.0.0.1:8080. A gateway
for other machines, such as EASYREMOTE_GATEWAY=0.0.0.0:8080, prints the tickets that they need.

Examples of ARGUMENTS, after `client`:
  sync_add '[1, 2]'
  sync_process_data '{"data": {"a": 1, "b": "x"}}'
  async_ai_simulation '{"text": "not bad at all", "model_delay": 0.5}'
  sync_number_stream '{"start": 1, "count": 5}'
  async_data_stream '{"config": {"sensors": ["pressure"], "sample_rate": 4, "duration": 3}}'
  async_ml_inference_stream '[["disc-1", "checkerboard-2", "broken-3", "vertical_bars-4"]]'
  async_complex_pipeline '["3 1 4 1 5 9 2 6", {"stages": 2, "stage_delay": 0.5}]'
  endless_stream --jsonl"#;

impl Command {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let (options, words): (Vec<_>, Vec<_>) =
            arguments.into_iter().partition(|word| word.starts_with("--"));
        let (mut attached, mut jsonl) = (false, false);
        for option in options {
            match option.as_str() {
                "--attached" => attached = true,
                "--jsonl" => jsonl = true,
                "--help" => return Ok(Self::Help),
                _ => return Err(format!("unknown option `{option}`; see `--help`").into()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            [] => Self::Everything { jsonl },
            ["gateway"] => Self::Gateway { attached },
            ["node"] => Self::Node { attached },
            ["client", call @ ..] if call.len() <= 2 => Self::Client {
                function: call.first().map(ToString::to_string),
                arguments: call.get(1).map(ToString::to_string),
                jsonl,
            },
            ["scenarios"] => Self::Scenarios { attached, jsonl },
            ["help" | "-h"] => Self::Help,
            words => return Err(format!("cannot `{}`; see `--help`", words.join(" ")).into()),
        })
    }
}

/// The address that the gateway listens on.
pub(crate) fn gateway_address() -> String {
    std::env::var(GATEWAY).unwrap_or_else(|_| DEFAULT_GATEWAY.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace().map(ToOwned::to_owned);
        Command::parse(words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn roles_and_options_come_in_any_order() {
        assert_eq!(parse(""), Ok(Command::Everything { jsonl: false }));
        assert_eq!(parse("--attached node"), Ok(Command::Node { attached: true }));
        let (function, arguments) = (Some("sync_add".to_owned()), Some("[1,-2]".to_owned()));
        let call = Command::Client { function, arguments, jsonl: true };
        assert_eq!(parse("client sync_add --jsonl [1,-2]"), Ok(call));
        assert_eq!(parse("client --help"), Ok(Command::Help));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, part) in [
            ("server", "cannot `server`"),
            ("client sync_add 1 2", "cannot `client sync_add 1 2`"),
            ("client --json", "unknown option `--json`"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
