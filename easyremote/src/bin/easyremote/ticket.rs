//! `easyremote ticket`: makes tickets, and shows what is in them.

use easyremote::{Error, ErrorKind, Gateway, Role, Ticket};
use serde_json::json;

use crate::exit::Failure;
use crate::options::{CommonOptions, TicketAction, TicketOptions, any_port};
use crate::output::Output;
use crate::table::Table;

/// Makes a ticket, or shows one.
pub(crate) async fn ticket(
    common: &CommonOptions,
    ticket: TicketOptions,
    output: &Output,
) -> Result<(), Failure> {
    match ticket.action {
        TicketAction::Make { address, role, name, no_pin } => {
            let ticket = make(common, role, &name).await?.at(&address)?;
            let ticket = if no_pin { ticket.without_pin() } else { ticket };
            match output.json {
                true => output.document(&json!({ "ticket": ticket.to_string() })).await,
                false => output.line(ticket.to_string()).await,
            }
        }
        TicketAction::Show { ticket } => {
            let text = match ticket.as_deref() {
                Some("-") => from_stdin().await?,
                Some(text) => text.to_owned(),
                None => common.gateway.clone(),
            };
            show(&text.trim().parse()?, output).await
        }
    }
}

/// Makes the ticket of a token. A token is derived from the gateway's identity, its role and its
/// name, so that every gateway with this identity makes the same one: also one that only exists for
/// this moment, on a port of its own.
async fn make(common: &CommonOptions, role: Role, name: &str) -> Result<Ticket, Failure> {
    let mut builder = Gateway::builder(any_port()).token(role, name);
    if let Some(directory) = &common.state_dir {
        builder = builder.state_dir(directory);
    }
    let gateway = builder.serve().await?;
    let ticket = gateway.ticket_of(role, name);
    gateway.shutdown().await;
    ticket.ok_or_else(|| {
        let text = format!("the token `{name}` was revoked");
        Error::new(ErrorKind::PermissionDenied, text).into()
    })
}

async fn from_stdin() -> Result<String, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = read.await.map_err(|error| Failure::Local(error.to_string()))?;
    line.map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))
}

/// Shows everything but the token.
async fn show(ticket: &Ticket, output: &Output) -> Result<(), Failure> {
    let text = ticket.to_string();
    let (address, query) = text.split_once('?').unwrap_or((&text, ""));
    let address = address.trim_start_matches("easyremote://");
    let pin = query.split('&').find_map(|part| part.strip_prefix("pin="));
    let role = format!("{:?}", ticket.role()).to_lowercase();
    if output.json {
        return output.document(&json!({ "address": address, "role": role, "pin": pin })).await;
    }
    let mut table = Table::new(["ADDRESS", "ROLE", "PIN"]);
    table.row([
        address.to_owned(),
        role,
        pin.unwrap_or("none: the gateway shows a certificate").to_owned(),
    ]);
    output.table(&table).await
}
