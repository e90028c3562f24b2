//! What is asked for on the command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use tokio::runtime::Builder;

const USAGE: &str = "--runs N, --only NAMES, --rows PARTS, --ratio NAME, --quick, --smoke, \
                     --runtime multi|current|both";

#[derive(Clone, Debug)]
pub struct Options {
    pub runs: u32,
    /// Names of parties; all if there is none.
    pub only: Vec<String>,
    /// Names of parts of the table; all if there is none.
    pub rows: Vec<String>,
    /// With whom easyremote is compared, figure by figure.
    pub ratio: Option<String>,
    pub effort: Effort,
    /// tokio's runtime in all processes; a table each.
    pub runtimes: Vec<Runtime>,
    /// For a child: which role it plays.
    pub part: Option<Part>,
}

/// How long, and how much, is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    Full,
    /// A fifth of the time.
    Quick,
    /// Hardly any: shows that everything works, and its figures mean nothing.
    Smoke,
}

/// A runtime of tokio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Its default, with a thread per processor.
    Multi,
    /// The program's own thread alone.
    Current,
}

/// A role, and what it needs to know.
#[derive(Clone, Debug)]
pub struct Part {
    pub role: String,
    pub targets: Vec<SocketAddr>,
    pub directory: PathBuf,
}

impl Options {
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut runs, mut effort, mut runtimes) = (None, Effort::Full, None);
        let (mut only, mut rows, mut ratio) = (Vec::new(), Vec::new(), None);
        let (mut role, mut targets, mut directory) = (None, None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--runs" => runs = Some(value()?.parse()?),
                "--only" => only = list(&value()?)?,
                "--rows" => rows = list(&value()?)?,
                "--ratio" => ratio = Some(value()?),
                "--quick" => effort = Effort::Quick,
                "--smoke" => effort = Effort::Smoke,
                "--runtime" => {
                    runtimes = Some(match value()?.as_str() {
                        "both" => vec![Runtime::Multi, Runtime::Current],
                        one => vec![one.parse()?],
                    });
                }
                "--role" => role = Some(value()?),
                "--targets" => targets = Some(list(&value()?)?),
                "--directory" => directory = Some(value()?.into()),
                word => bail!("unknown option `{word}`: {USAGE}"),
            }
        }
        let part = match role {
            Some(role) => Some(Part {
                role,
                targets: targets.context("a role needs targets")?,
                directory: directory.context("a role needs a directory")?,
            }),
            None => None,
        };
        let (some_runs, some_runtimes) = match effort {
            Effort::Smoke => (1, vec![Runtime::Multi, Runtime::Current]),
            Effort::Full | Effort::Quick => (3, vec![Runtime::Multi]),
        };
        let runs = runs.unwrap_or(some_runs);
        ensure!(runs > 0, "`--runs` is at least 1");
        let runtimes = runtimes.unwrap_or(some_runtimes);
        Ok(Self { runs, only, rows, ratio, effort, runtimes, part })
    }

    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    pub fn wants_rows(&self, part: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|rows| rows == part)
    }

    /// How long to measure what a full run does for `whole` milliseconds.
    pub fn ms(&self, whole: u64) -> u64 {
        match self.effort {
            Effort::Full => whole,
            Effort::Quick => whole / 5,
            Effort::Smoke => (whole / 100).clamp(20, 50),
        }
    }

    /// How often to do what a full run does `whole` times.
    pub fn times(&self, whole: u64) -> u64 {
        match self.effort {
            Effort::Full => whole,
            Effort::Quick => (whole / 5).max(1),
            Effort::Smoke => (whole / 200).max(1),
        }
    }

    /// How many to start or connect where a table says `whole`, which only a smoke run makes fewer.
    pub fn peers(&self, whole: u64) -> u64 {
        match self.effort {
            Effort::Full | Effort::Quick => whole,
            Effort::Smoke => (whole / 25).max(2),
        }
    }
}

/// Words with commas between them.
fn list<T: FromStr<Err: Into<Error>>>(text: &str) -> Result<Vec<T>> {
    text.split(',').map(|word| word.parse().map_err(Into::into)).collect()
}

impl Runtime {
    pub fn build(self) -> Result<tokio::runtime::Runtime> {
        let mut builder = match self {
            Self::Multi => Builder::new_multi_thread(),
            Self::Current => Builder::new_current_thread(),
        };
        Ok(builder.enable_all().build()?)
    }
}

impl FromStr for Runtime {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "multi" => Self::Multi,
            "current" => Self::Current,
            other => bail!("no runtime is called `{other}`: `multi`, `current` or `both`"),
        })
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multi => "multi",
            Self::Current => "current",
        })
    }
}
