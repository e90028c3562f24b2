//! What is asked for on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::runtime::{Builder, Runtime};

#[derive(Clone, Debug)]
pub struct Options {
    pub runs: u32,
    /// Names; all if there is none.
    pub only: Vec<String>,
    /// A fifth of the time each.
    pub quick: bool,
    /// tokio's runtime in all processes: `multi`, its default, or `current`.
    pub runtime: String,
    /// For a child: which role it plays.
    pub part: Option<Part>,
}

/// A role, and what it needs to know.
#[derive(Clone, Debug)]
pub struct Part {
    pub role: String,
    pub target: SocketAddr,
    pub directory: PathBuf,
}

impl Options {
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options =
            Self { runs: 3, only: Vec::new(), quick: false, runtime: "multi".into(), part: None };
        let (mut role, mut target, mut directory) = (None, None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--runs" => options.runs = value()?.parse()?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--quick" => options.quick = true,
                "--runtime" => options.runtime = value()?,
                "--role" => role = Some(value()?),
                "--target" => target = Some(value()?.parse()?),
                "--directory" => directory = Some(value()?.into()),
                word => bail!(
                    "unknown option `{word}`: --runs N, --only NAMES, --quick, --runtime multi|current"
                ),
            }
        }
        if let Some(role) = role {
            let target = target.context("a role needs a target")?;
            let directory = directory.context("a role needs a directory")?;
            options.part = Some(Part { role, target, directory });
        }
        Ok(options)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// The part of `whole` that is to be done.
    pub fn share(&self, whole: u64) -> u64 {
        if self.quick { whole / 5 } else { whole }
    }

    pub fn runtime(&self) -> Result<Runtime> {
        let mut builder = match self.runtime.as_str() {
            "multi" => Builder::new_multi_thread(),
            "current" => Builder::new_current_thread(),
            other => bail!("no runtime is called `{other}`: `multi` or `current`"),
        };
        Ok(builder.enable_all().build()?)
    }
}
