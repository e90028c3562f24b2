//! Whether the gateway lets this peer in, and what it may call then.

use std::error::Error as _;
use std::time::Instant;

use easyremote::auth::DialOptions;
use easyremote::{Client, Error, ErrorKind, Node, Role, Ticket, functions, remote};

use super::findings::{Cause, Finding, Findings};
use crate::connect;
use crate::options::CommonOptions;
use crate::units::show_duration;

/// What a node has to offer to be admitted. It is offered during the check only.
#[remote(name = "easyremote-doctor")]
fn nothing() {}

/// Connects as the role of the ticket, and adds what comes of it.
pub(super) async fn check(common: &CommonOptions, gateway: &str, findings: &mut Findings) {
    let role = gateway.parse::<Ticket>().map(|ticket| ticket.role());
    let dial = connect::dial_options(common);
    let outcome = match role {
        Ok(Role::Node) => as_node(gateway, dial).await.map(|()| None),
        _ => Client::builder(gateway).dial(dial).connect().await.map(Some),
    };
    match outcome {
        Ok(client) => {
            let role = role.map_or_else(|_| "client".to_owned(), named);
            findings.add(Finding::fine("admission", format!("admitted as {role}")));
            if let Some(client) = client {
                look_around(&client, findings).await;
            }
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut next = error.source();
            while let Some(cause) = next {
                text.push_str(&format!(": {cause}"));
                next = cause.source();
            }
            findings.add(Finding::failed("admission", cause_of(&error, &text), text));
        }
    }
}

/// Registers a node for a moment.
async fn as_node(gateway: &str, dial: DialOptions) -> Result<(), Error> {
    let id = format!("easyremote-doctor-{}", std::process::id());
    let node = Node::builder(gateway).id(id).dial(dial).functions(functions![nothing]);
    match node.serve().await {
        Ok(node) => {
            node.shutdown().await;
            Ok(())
        }
        // The token is good, and the rules name other functions.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Adds what the client sees of nodes and functions.
async fn look_around(client: &Client, findings: &mut Findings) {
    let asked = Instant::now();
    let lists = async { Ok::<_, Error>((client.nodes().await?, client.functions().await?)) };
    findings.add(match lists.await {
        Ok((nodes, _)) if nodes.is_empty() => {
            Finding::odd("nodes", "no node is connected that offers what this client may call")
        }
        Ok((nodes, functions)) => {
            let (nodes, functions) = (nodes.len(), functions.len());
            let time = show_duration(asked.elapsed());
            Finding::fine("nodes", format!("nodes: {nodes}, functions: {functions}, in {time}"))
        }
        Err(error) => Finding::odd("nodes", format!("cannot ask for nodes: {error}")),
    });
}

fn named(role: Role) -> String {
    format!("{role:?}").to_lowercase()
}

/// What an error of dialling means, given that UDP gets through. `text` is that of the error and its
/// causes.
fn cause_of(error: &Error, text: &str) -> Cause {
    let text = text.to_lowercase();
    let about = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match error.kind() {
        // What TLS says about time (RFC 8446, section 6.2: `certificate_expired`).
        ErrorKind::Unauthenticated if about(&["expired", "not valid yet", "notvalidyet"]) => {
            Cause::Clock
        }
        ErrorKind::Unauthenticated if about(&["not the pinned one"]) => Cause::WrongPin,
        ErrorKind::Unauthenticated if about(&["not the gateway that was expected"]) => {
            Cause::WrongCertificate
        }
        ErrorKind::Unauthenticated => Cause::WrongToken,
        ErrorKind::PermissionDenied => Cause::Denied,
        ErrorKind::Protocol => Cause::Version,
        ErrorKind::InvalidInput => Cause::Address,
        ErrorKind::Unavailable if about(&["no answer from"]) => Cause::Handshake,
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dialling_says_is_a_cause() {
        for (kind, text, cause) in [
            (ErrorKind::Unauthenticated, "its key is not the pinned one", Cause::WrongPin),
            (ErrorKind::Unauthenticated, "the token is not valid", Cause::WrongToken),
            (ErrorKind::Unauthenticated, "x: certificate expired: y", Cause::Clock),
            (ErrorKind::Unauthenticated, "certificate not valid yet", Cause::Clock),
            (
                ErrorKind::Unauthenticated,
                "not the gateway that was expected: its certificate",
                Cause::WrongCertificate,
            ),
            (ErrorKind::Unavailable, "no answer from `gw:1`", Cause::Handshake),
            (ErrorKind::Protocol, "does not support this version", Cause::Version),
            (ErrorKind::InvalidInput, "not on this machine", Cause::Address),
        ] {
            assert_eq!(cause_of(&Error::new(kind, text), text), cause, "{text}");
        }
    }
}
