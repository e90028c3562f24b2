//! The commands and their options.

mod generate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use easyremote::client::JobId;
use easyremote::{Options, Retry, Role, Strategy};

pub(crate) use self::generate::{GenerateLanguage, GenerateOptions, PythonOptions};
use crate::units::{bytes, duration};

/// Calls functions on other machines, watches their nodes, and serves a gateway.
#[derive(Debug, Parser)]
#[command(name = "easyremote", version, max_term_width = 100)]
#[command(after_help = crate::exit::HELP)]
pub(crate) struct Invocation {
    #[command(flatten)]
    pub(crate) common: CommonOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct CommonOptions {
    /// The gateway: `host:port` for one of this user on this machine, or a ticket; several are
    /// separated by commas. The variable keeps a ticket out of the list of processes
    #[arg(
        long,
        short,
        global = true,
        value_name = "ADDRESS|TICKET",
        env = "EASYREMOTE_GATEWAY",
        hide_env_values = true,
        default_value = DEFAULT_GATEWAY
    )]
    pub(crate) gateway: String,
    /// Write JSON: one document, or one line for each item; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to dial before giving up
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    /// The directory of the identity of gateways on this machine, if not the user's own
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// PEM file of the authorities that verify a gateway known by its host name
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) authority: Option<PathBuf>,
    /// PEM file of the certificate to present in place of a token
    #[arg(long, global = true, value_name = "FILE", requires = "cert_key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of the private key of `--cert`
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    pub(crate) cert_key: Option<PathBuf>,
}

/// Where a gateway is served, and looked for, unless said otherwise.
pub(crate) const DEFAULT_GATEWAY: &str = "127.0.0.1:8080";

/// Where the page of a gateway is, unless said otherwise. A TCP port is not taken by the UDP port of
/// the same number.
const DEFAULT_PAGE: &str = "http://127.0.0.1:8080";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a gateway until Ctrl-C or SIGTERM, and drain it then
    Gateway(GatewayOptions),
    /// List nodes and functions
    Ls(LsOptions),
    /// Show signature, documentation, JSON schemas and nodes of a function
    Describe(DescribeOptions),
    /// Call a function, and write its result as JSON
    Call(CallOptions),
    /// Read a stream, and write its items as JSON lines as they come
    Stream(StreamOptions),
    /// Offer functions as tools to an agent, over standard input and output (MCP)
    Mcp,
    /// List jobs; ask for the status or the result of one, or cancel it
    Jobs(JobsOptions),
    /// Show nodes, functions and the gateway's figures, as they change
    Top(TopOptions),
    /// Let callers of the gateway reach an HTTP server of this machine, an OpenAI-compatible one first
    Attach(AttachOptions),
    /// Open the page of a gateway of this user in the browser
    Open(OpenOptions),
    /// Find out why a gateway cannot be reached, or served
    Doctor(DoctorOptions),
    /// Make a ticket for a gateway of this user, or show what is in one
    Ticket(TicketOptions),
    /// Write typed stubs in another language
    Gen(GenerateOptions),
    /// Write the bearer of this user, with which requests over HTTP are made
    Token(TokenOptions),
    /// Write the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    /// The address to listen on
    #[arg(default_value = DEFAULT_GATEWAY, value_name = "HOST:PORT")]
    pub(crate) address: String,
    /// The address in tickets, if peers reach the gateway by another one
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) public: Option<String>,
    /// Do not write tickets, which are secrets, to standard output
    #[arg(long)]
    pub(crate) no_tickets: bool,
    /// Name a token: `client:web`, `node:gpu`, `admin:ops`. May be repeated
    #[arg(long = "token", value_name = "ROLE:NAME", value_parser = token)]
    pub(crate) tokens: Vec<(Role, String)>,
    /// Allow an identity to call functions: `web=search,Model.*`. May be repeated
    #[arg(long, value_name = "IDENTITY=FUNCTIONS", value_parser = rule)]
    pub(crate) may_call: Vec<(String, Vec<String>)>,
    /// Allow an identity to offer functions: `gpu=Model.*`. May be repeated
    #[arg(long, value_name = "IDENTITY=FUNCTIONS", value_parser = rule)]
    pub(crate) may_offer: Vec<(String, Vec<String>)>,
    /// Serve HTTP too, at this address: the page, calls, lists and metrics
    #[arg(
        long, value_name = "HOST:PORT", num_args = 0..=1, default_missing_value = DEFAULT_GATEWAY
    )]
    pub(crate) http: Option<String>,
    /// PEM file of the certificate for HTTPS; that of `--cert` unless given. Without one, HTTP is
    /// served on addresses of this machine only
    #[arg(long, value_name = "FILE", requires_all = ["http", "http_key"])]
    pub(crate) http_cert: Option<PathBuf>,
    /// PEM file of the private key of `--http-cert`
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    pub(crate) http_key: Option<PathBuf>,
    /// A host by which the HTTP server is reached: `gw.example.com`, or with `:port`. May be
    /// repeated
    #[arg(long, value_name = "HOST", requires = "http")]
    pub(crate) http_host: Vec<String>,
    /// Pages of this origin may make requests: `https://app.example.com`. May be repeated
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    pub(crate) http_origin: Vec<String>,
    /// How long calls in flight may take when the gateway drains
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) grace: Duration,
    /// I/O threads, on Linux
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
    /// Longest message [default: 64MiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_message: Option<u64>,
    /// Connections at a time [default: 8192]
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<usize>,
    /// Connections at a time from one address [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) connections_per_address: Option<usize>,
    /// Calls at a time of one client [default: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) calls_per_peer: Option<u32>,
    /// Bytes that may wait for one peer
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) buffered_per_peer: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    /// Only nodes with this tag. May be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// With `--json`: with the JSON schemas of the functions, for `gen --schemas`
    #[arg(long)]
    pub(crate) schemas: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeOptions {
    /// The name of the function
    pub(crate) function: String,
}

#[derive(Debug, Args)]
pub(crate) struct CallOptions {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Run the function once for all calls of this identity with this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Tell which node ran the call, how long it waited and how long it ran
    #[arg(long, conflicts_with = "job")]
    pub(crate) traced: bool,
    /// Run the call as a job, and write its id
    #[arg(long)]
    pub(crate) job: bool,
}

/// Which function is called, with what, and how.
#[derive(Debug, Args)]
pub(crate) struct TargetOptions {
    /// The name of the function
    pub(crate) function: String,
    /// Arguments: each word is a JSON value, or a text if it is no JSON. One single array or object
    /// is all arguments, by position or by name. `-` is a value from standard input
    #[arg(allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    /// Limit the time of the call, to its end
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Only this node
    #[arg(long, value_name = "NODE")]
    pub(crate) on: Option<String>,
    /// Only nodes with this tag. May be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Rather nodes with this tag. May be repeated
    #[arg(long = "prefer-tag", value_name = "TAG")]
    pub(crate) preferred: Vec<String>,
    /// The same node for all calls with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) sticky: Option<String>,
    /// How the gateway chooses among the nodes that fit
    #[arg(long, value_name = "STRATEGY")]
    pub(crate) strategy: Option<StrategyName>,
    /// An entry that the function reads beside its arguments. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// The largest number of attempts, the first one included; 1 never retries
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,
    /// Wait for a node that can run the call, instead of failing if there is none
    #[arg(long)]
    pub(crate) wait_for_node: bool,
}

impl TargetOptions {
    /// The options as the library takes them.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new();
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        if let Some(node) = &self.on {
            options = options.on(node);
        }
        options = self.tags.iter().fold(options, Options::tag);
        options = self.preferred.iter().fold(options, Options::prefer_tag);
        if let Some(key) = &self.sticky {
            options = options.sticky(key);
        }
        if let Some(strategy) = self.strategy {
            options = options.strategy(strategy.into());
        }
        for (key, value) in &self.metadata {
            options = options.metadata(key, value);
        }
        if let Some(attempts) = self.retry {
            options = options.retry(Retry::new().attempts(attempts));
        }
        if self.wait_for_node { options.wait_for_node() } else { options }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StrategyName {
    /// The less busy of two random nodes
    LeastBusy,
    /// One node after the other
    RoundRobin,
    /// Any node
    Random,
    /// The node that is expected to answer first
    Fastest,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::LeastBusy => Self::LeastBusy,
            StrategyName::RoundRobin => Self::RoundRobin,
            StrategyName::Random => Self::Random,
            StrategyName::Fastest => Self::Fastest,
        }
    }
}

/// The operators act at the node, in the order in which they are written.
#[derive(Debug, Args)]
pub(crate) struct StreamOptions {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Operator: the first N items
    #[arg(long, value_name = "N", action = ArgAction::Append, help_heading = OPERATORS)]
    pub(crate) take: Vec<usize>,
    /// Operator: all but the first N items
    #[arg(long, value_name = "N", action = ArgAction::Append, help_heading = OPERATORS)]
    pub(crate) skip: Vec<usize>,
    /// Operator: the first item, and every N-th behind it
    #[arg(long, value_name = "N", action = ArgAction::Append, help_heading = OPERATORS)]
    pub(crate) every: Vec<usize>,
    /// Operator: at most one item in this time, the newest
    #[arg(
        long, value_name = "TIME", action = ArgAction::Append, value_parser = duration,
        help_heading = OPERATORS
    )]
    pub(crate) sample: Vec<Duration>,
    /// Operator: the newest item, when the last one has been taken
    #[arg(
        long, num_args = 0, default_missing_value = "true", action = ArgAction::Append,
        help_heading = OPERATORS
    )]
    pub(crate) latest: Vec<bool>,
    /// Operator: leave out an item that equals the one before
    #[arg(
        long, num_args = 0, default_missing_value = "true", action = ArgAction::Append,
        help_heading = OPERATORS
    )]
    pub(crate) dedup: Vec<bool>,
    /// Operator: arrays of up to N items, or of what came within a time, as in `100,50ms`
    #[arg(
        long, value_name = "N,TIME", action = ArgAction::Append, value_parser = batches,
        help_heading = OPERATORS
    )]
    pub(crate) batches: Vec<(usize, Duration)>,
    /// How far the function may run ahead of this reader
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) buffer: Option<u64>,
    /// Survive a lost connection without a lost item
    #[arg(long)]
    pub(crate) resumable: bool,
    /// Draw a number of each item instead of writing items: a JSON pointer, or names between dots;
    /// `.` is the item itself
    #[arg(long, value_name = "FIELD")]
    pub(crate) plot: Option<String>,
}

const OPERATORS: &str = "Operators, in the order in which they are written";

#[derive(Debug, Args)]
pub(crate) struct JobsOptions {
    #[command(subcommand)]
    pub(crate) action: Option<JobAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobAction {
    /// List the jobs of this identity (the default)
    List,
    /// Show what a job does
    Status {
        /// The id of the job
        id: JobId,
    },
    /// Wait for the end of a job, and write its result as JSON
    Result {
        /// The id of the job
        id: JobId,
    },
    /// Cancel a job
    Cancel {
        /// The id of the job
        id: JobId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TopOptions {
    /// Write the figures once, as text
    #[arg(long)]
    pub(crate) once: bool,
    /// How often the gateway is asked
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = ATTACH_HELP)]
pub(crate) struct AttachOptions {
    /// The name of the server at the gateway, and the id of the node: `A-Z a-z 0-9 _ -`
    pub(crate) name: String,
    /// The server: `http://host:port`, or `https://host:port`
    pub(crate) url: String,
    /// Forward further requests: `GET /api/tags`, or `POST /api/*`. May be repeated
    #[arg(long = "allow", value_name = "METHOD /PATH")]
    pub(crate) rules: Vec<String>,
    /// Add a header whose value is in a variable of the environment, such as the server's own key:
    /// `Authorization=KEY`. May be repeated
    #[arg(long = "header-env", value_name = "NAME=VARIABLE", value_parser = pair)]
    pub(crate) headers: Vec<(String, String)>,
    /// Requests at a time; others wait at the gateway [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<usize>,
    /// A tag of the node. May be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// How long the server may take until its answer begins
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) head_timeout: Duration,
    /// PEM file of the authorities that verify the server, for `https://`
    #[arg(long, value_name = "FILE")]
    pub(crate) server_authority: Option<PathBuf>,
    /// How long requests that run may take when the tool ends
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) grace: Duration,
}

const ATTACH_HELP: &str = "\
The server gets GET /v1/models, GET /v1/models/*, and POST to /v1/chat/completions, /v1/completions,
/v1/embeddings, /v1/responses, /v1/messages, /v1/rerank, /v1/score, /v1/moderations, /v1/audio/*,
/v1/images/generations, /v1/images/edits and /v1/images/variations; --allow adds others. Ctrl-C and
SIGTERM let requests end first, a second one does not.";

#[derive(Debug, Args)]
pub(crate) struct OpenOptions {
    /// The address of the page, as `easyremote gateway --http` writes it
    #[arg(default_value = DEFAULT_PAGE, value_name = "URL")]
    pub(crate) url: String,
    /// Write the address with the bearer, which is a secret, instead of opening it
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenOptions {
    /// The role that the bearer is for: `admin` also sees what concerns the gateway as a whole
    #[arg(long, default_value = "client", value_parser = role_of_bearer)]
    pub(crate) role: Role,
    /// Replace the bearer: the old one is refused from now on
    #[arg(long)]
    pub(crate) rotate: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Check whether a gateway could be served at this address, instead of looking for one
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) serve: Option<String>,
}

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct TicketOptions {
    #[command(subcommand)]
    pub(crate) action: TicketAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TicketAction {
    /// Make the ticket of a token, for a gateway that has the identity of this user and names the
    /// token
    Make {
        /// The address at which peers reach the gateway
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// The role that the ticket is for
        #[arg(long, default_value = "client", value_parser = role)]
        role: Role,
        /// The name of the token
        #[arg(long, default_value = "default")]
        name: String,
        /// Leave out the pin: for a gateway with a certificate for its host name
        #[arg(long)]
        no_pin: bool,
    },
    /// Show address, role and pin of a ticket, and nothing of its token
    Show {
        /// The ticket, or `-` to read it from standard input; `--gateway` unless given
        ticket: Option<String>,
    },
}

/// A port that was not given: any that is free.
pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Reads how often something is done: as a timer can do it, and a gateway can bear it.
fn interval(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    let interval = duration(text)?;
    if interval < LEAST { Err("at least `100ms`".to_owned()) } else { Ok(interval) }
}

fn role(text: &str) -> Result<Role, String> {
    match text {
        "node" => Ok(Role::Node),
        "client" => Ok(Role::Client),
        "admin" => Ok(Role::Admin),
        _ => Err("a role is `node`, `client` or `admin`".to_owned()),
    }
}

fn role_of_bearer(text: &str) -> Result<Role, String> {
    match role(text) {
        Ok(Role::Client) => Ok(Role::Client),
        Ok(Role::Admin) => Ok(Role::Admin),
        _ => Err("the role of a bearer is `client` or `admin`".to_owned()),
    }
}

fn token(text: &str) -> Result<(Role, String), String> {
    let (named, name) = text.split_once(':').ok_or("write the role and the name, `client:web`")?;
    Ok((role(named)?, name.to_owned()))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write the key and the value, `tenant=acme`")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn rule(text: &str) -> Result<(String, Vec<String>), String> {
    let wrong = "write the identity and the functions, `web=search,Model.*`";
    let (identity, functions) = text.split_once('=').ok_or(wrong)?;
    Ok((identity.to_owned(), functions.split(',').map(str::to_owned).collect()))
}

fn batches(text: &str) -> Result<(usize, Duration), String> {
    let wrong = "write a number and a time, `100,50ms`";
    let (items, wait) = text.split_once(',').ok_or(wrong)?;
    Ok((items.parse().map_err(|_| wrong)?, duration(wait)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Invocation::command().debug_assert();
    }

    #[test]
    fn help_shows_no_ticket_of_the_environment() {
        let mut command = Invocation::command();
        command.build();
        let gateway = command.get_arguments().find(|arg| arg.get_id() == "gateway").unwrap();
        assert!(gateway.is_hide_env_values_set());
    }

    #[test]
    fn options_of_a_call_reach_the_library() {
        let line = "easyremote call f 1 -2 --timeout 5s --on gpu-1 --tag a --tag b --prefer-tag c \
                    --sticky k --strategy fastest --metadata x=y=z --retry 5 --wait-for-node";
        let invocation = Invocation::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Call(call) = invocation.command else { panic!("{:?}", invocation.command) };
        assert_eq!(call.target.arguments, ["1", "-2"]);
        let expected = Options::new().timeout(Duration::from_secs(5)).on("gpu-1").tag("a").tag("b");
        let expected = expected.prefer_tag("c").sticky("k").strategy(Strategy::Fastest);
        let expected = expected.metadata("x", "y=z").retry(Retry::new().attempts(5));
        assert_eq!(call.target.options(), expected.wait_for_node());
    }
}
