//! The options of `easyremote gen`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct GenerateOptions {
    #[command(subcommand)]
    pub(crate) language: GenerateLanguage,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GenerateLanguage {
    /// Write stubs for Python, which are used with `easyremote.py`
    Python(PythonOptions),
}

#[derive(Debug, Args)]
pub(crate) struct PythonOptions {
    /// The functions; all that this identity may call, unless given
    pub(crate) functions: Vec<String>,
    /// The file to write, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Read the functions from a file that `describe --json`, `ls --json --schemas` or
    /// `GET /functions` has written, instead of asking a gateway
    #[arg(long, value_name = "FILE")]
    pub(crate) schemas: Option<PathBuf>,
    /// Floats in results are finite: leave out that they may be `None`
    #[arg(long)]
    pub(crate) finite: bool,
}
