//! `easyremote attach`: a local HTTP server as a node, until a signal.

use easyremote::attach::{AttachedServer, LocalServer};
use easyremote::{Node, shutdown_signal};
use serde_json::json;

use crate::connect::dial_options;
use crate::exit::Failure;
use crate::options::{AttachOptions, CommonOptions};
use crate::output::Output;

/// Attaches the server until Ctrl-C or SIGTERM, and drains then; a second signal ends at once.
pub(crate) async fn attach(
    common: &CommonOptions,
    options: AttachOptions,
    output: &Output,
) -> Result<(), Failure> {
    let mut server = LocalServer::new(&options.url).head_timeout(options.head_timeout);
    for rule in &options.rules {
        server = server.allow(rule);
    }
    for (name, variable) in &options.headers {
        server = server.header(name, &value_of(variable)?);
    }
    if let Some(file) = &options.server_authority {
        server = server.authority(file);
    }
    let mut node = Node::builder(&common.gateway).dial(dial_options(common));
    node = options.tags.iter().fold(node, |node, tag| node.tag(tag));
    if let Some(requests) = options.concurrency {
        node = node.concurrency(requests);
    }
    // Before the node can be seen: a signal from then on drains it.
    let mut first = Box::pin(shutdown_signal());
    let _ = futures::poll!(&mut first);
    let attached = tokio::select! {
        attached = server.attach(&options.name, node) => attached?,
        () = &mut first => return Ok(()),
    };
    match announce(&attached, &options, output).await {
        // Who has read enough does not end the node for all others.
        Ok(()) | Err(Failure::ClosedPipe) => {}
        Err(failure) => return Err(failure),
    }
    first.await;
    output.remark(&format!("draining for up to {:?}; once more ends at once", options.grace));
    tokio::select! {
        () = attached.drain(options.grace) => {}
        () = shutdown_signal() => attached.node().shutdown().await,
    }
    Ok(())
}

/// Reads a variable of the environment. Its value is not shown, whatever is wrong with it.
fn value_of(variable: &str) -> Result<String, Failure> {
    std::env::var(variable).map_err(|_| {
        Failure::Usage(format!("the variable `{variable}` is not set, or is not text"))
    })
}

/// Says what is attached.
async fn announce(
    attached: &AttachedServer,
    options: &AttachOptions,
    output: &Output,
) -> Result<(), Failure> {
    let (name, models) = (&options.name, attached.models());
    if output.json {
        let path = format!("/attach/{name}");
        return output.document(&json!({ "name": name, "path": path, "models": models })).await;
    }
    let what = match models.len() {
        0 => "no models so far; they are looked for again".to_owned(),
        _ => format!("models: {}", models.join(", ")),
    };
    output.line(format!("attached as {name}, at /attach/{name} of the gateway; {what}")).await
}
