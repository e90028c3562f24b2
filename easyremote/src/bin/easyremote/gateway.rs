//! `easyremote gateway`: serves a gateway until a signal.

use easyremote::gateway::GatewayLimits;
use easyremote::http::{HttpOptions, HttpServer};
use easyremote::{Gateway, Role, Ticket, shutdown_signal};
use serde_json::json;

use crate::exit::Failure;
use crate::options::{CommonOptions, GatewayOptions};
use crate::output::Output;

/// Serves until Ctrl-C or SIGTERM, and drains then; a second signal ends at once.
pub(crate) async fn serve(
    common: &CommonOptions,
    options: GatewayOptions,
    output: &Output,
) -> Result<(), Failure> {
    let mut builder = Gateway::builder(&options.address).threads(options.threads);
    builder = builder.limits(limits(&options)?);
    if let Some(directory) = &common.state_dir {
        builder = builder.state_dir(directory);
    }
    if let (Some(chain), Some(key)) = (&common.cert, &common.cert_key) {
        builder = builder.certificate(chain, key);
    }
    for (role, name) in &options.tokens {
        builder = builder.token(*role, name);
    }
    for (identity, functions) in &options.may_call {
        builder = builder.may_call(&**identity, functions);
    }
    for (identity, functions) in &options.may_offer {
        builder = builder.may_offer(&**identity, functions);
    }
    // Before the gateway can be seen: a signal from then on drains it.
    let mut first = Box::pin(shutdown_signal());
    let _ = futures::poll!(&mut first);
    let gateway = builder.serve().await?;
    let http = serve_http(&gateway, common, &options).await?;
    match announce(&gateway, http.as_ref(), &options, output).await {
        // Who has read enough does not end the gateway for all others.
        Ok(()) | Err(Failure::ClosedPipe) => {}
        Err(failure) => return Err(failure),
    }
    tokio::select! {
        () = first => {}
        () = gateway.closed() => return Err(Failure::Local("the gateway has ended".to_owned())),
    }
    output.remark(&format!("draining for up to {:?}; once more ends at once", options.grace));
    tokio::select! {
        () = gateway.drain(options.grace) => {}
        () = shutdown_signal() => gateway.shutdown().await,
    }
    Ok(())
}

fn limits(options: &GatewayOptions) -> Result<GatewayLimits, Failure> {
    let mut limits = GatewayLimits::new();
    if let Some(bytes) = options.max_message {
        let bytes = usize::try_from(bytes);
        limits = limits
            .max_message(bytes.map_err(|_| Failure::Usage("the message is too long".to_owned()))?);
    }
    if let Some(connections) = options.connections {
        limits = limits.connections(connections);
    }
    if let Some(connections) = options.connections_per_address {
        limits = limits.connections_per_address(connections);
    }
    if let Some(calls) = options.calls_per_peer {
        limits = limits.calls_per_peer(calls);
    }
    if let Some(bytes) = options.buffered_per_peer {
        limits = limits.buffered_per_peer(bytes);
    }
    Ok(limits)
}

/// Starts the HTTP server, if there is to be one. It ends with the gateway.
async fn serve_http(
    gateway: &Gateway,
    common: &CommonOptions,
    options: &GatewayOptions,
) -> Result<Option<(HttpServer, &'static str)>, Failure> {
    let Some(address) = &options.http else { return Ok(None) };
    let mut http = HttpOptions::new(address).hosts(options.http_host.iter().cloned());
    http = http.origins(options.http_origin.iter().cloned());
    let own = options.http_cert.as_ref().zip(options.http_key.as_ref());
    let certificate = own.or(common.cert.as_ref().zip(common.cert_key.as_ref()));
    let mut scheme = "http";
    if let Some((chain, key)) = certificate {
        http = http.certificate(chain, key);
        scheme = "https";
    }
    Ok(Some((gateway.serve_http(http).await?, scheme)))
}

/// Says where the gateway listens, and how others get there.
async fn announce(
    gateway: &Gateway,
    http: Option<&(HttpServer, &'static str)>,
    options: &GatewayOptions,
    output: &Output,
) -> Result<(), Failure> {
    let address = gateway.local_addr();
    let ticket = |role| -> Result<Option<Ticket>, Failure> {
        if options.no_tickets {
            return Ok(None);
        }
        let ticket = gateway.ticket(role);
        Ok(Some(match &options.public {
            Some(public) => ticket.at(public)?,
            None => ticket,
        }))
    };
    let (node, client) = (ticket(Role::Node)?, ticket(Role::Client)?);
    let text = |ticket: &Option<Ticket>| ticket.as_ref().map(Ticket::to_string);
    let (node, client) = (text(&node), text(&client));
    let page = http.map(|(http, scheme)| format!("{scheme}://{}", http.local_addr()));
    if output.json {
        let tickets = json!({ "node": node, "client": client });
        let said = json!({ "address": address, "tickets": tickets, "http": page });
        return output.document(&said).await;
    }
    output.line(format!("listening on {address}")).await?;
    if let Some(page) = page {
        output.line(format!("HTTP at {page}; `easyremote open {page}` opens its page")).await?;
    }
    if let (Some(node), Some(client)) = (node, client) {
        let lines =
            format!("tickets, to be kept like passwords:\n  node    {node}\n  client  {client}");
        output.line(lines).await?;
    }
    Ok(())
}
