//! `easyremote mcp`: functions as tools of the agent that has started the tool.

use crate::exit::Failure;
use crate::options::CommonOptions;

/// Serves until the agent closes standard input. Standard output has the messages of the protocol and
/// nothing else.
#[cfg(feature = "mcp")]
pub(crate) async fn mcp(common: &CommonOptions) -> Result<(), Failure> {
    let client = crate::connect::connect(common).await?;
    Ok(easyremote::mcp::serve(client, tokio::io::stdin(), tokio::io::stdout()).await?)
}

/// Says what is missing.
#[cfg(not(feature = "mcp"))]
pub(crate) async fn mcp(_: &CommonOptions) -> Result<(), Failure> {
    let text = "this build has no MCP: `cargo install --path easyremote --features cli,mcp`";
    Err(Failure::Usage(text.to_owned()))
}
