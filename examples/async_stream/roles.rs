//! The roles, each as a process runs it: gateway, node, and the client that runs the scenarios.

use std::future::pending;
use std::io;
use std::net::IpAddr;

use easyremote::{Client, Gateway, Node, Role};
use tokio::sync::oneshot;

use crate::cli::{GATEWAY, gateway_address};
use crate::{Failure, functions, scenarios};

/// Runs a gateway until it is stopped.
pub(crate) async fn gateway(attached: bool) -> Result<(), Failure> {
    let gateway = Gateway::serve(gateway_address()).await?;
    let address = gateway.local_addr();
    eprintln!("gateway: listening on {address}");
    if !address.ip().is_loopback() {
        print_tickets(&gateway, address.ip());
    }
    tokio::select! {
        () = told_to_stop(attached) => {}
        () = gateway.closed() => return Err("the gateway has ended".into()),
    }
    gateway.shutdown().await;
    eprintln!("gateway: stopped");
    Ok(())
}

/// Prints the tickets that other machines need to reach `gateway`.
fn print_tickets(gateway: &Gateway, ip: IpAddr) {
    if ip.is_unspecified() {
        println!("# In these, write a name of this machine in place of {ip}.");
    }
    for (role, name) in [(Role::Node, "node"), (Role::Client, "client")] {
        println!("# for a {name}:\nexport {GATEWAY}='{}'", gateway.ticket(role));
    }
}

/// Runs a node with all functions until it is stopped.
pub(crate) async fn node(attached: bool) -> Result<(), Failure> {
    let node = Node::serve(gateway_address(), functions::all()).await?;
    eprintln!("node: registered as `{}`", node.id());
    tokio::select! {
        () = told_to_stop(attached) => {}
        () = node.closed() => return Err("the node has ended".into()),
    }
    node.shutdown().await;
    eprintln!("node: stopped");
    Ok(())
}

/// Runs all scenarios as a client. Returns whether they passed.
pub(crate) async fn scenarios(attached: bool, jsonl: bool) -> Result<bool, Failure> {
    let work = async {
        let client = Client::connect(gateway_address()).await?;
        let passed = scenarios::run(&client, jsonl).await?;
        client.close().await;
        Ok(passed)
    };
    tokio::select! {
        passed = work => passed,
        () = told_to_stop(attached) => Err("interrupted".into()),
    }
}

/// Waits for ctrl-c or, if `attached`, for the end of standard input.
pub(crate) async fn told_to_stop(attached: bool) {
    let detached = async { if attached { end_of_input().await } else { pending().await } };
    tokio::select! {
        // Without a handler, ctrl-c ends the process by itself.
        Err(_) | Ok(()) = tokio::signal::ctrl_c() => {}
        () = detached => {}
    }
}

/// Resolves when standard input closes: the parent process has closed it, or is gone.
async fn end_of_input() {
    let (ending, ended) = oneshot::channel::<()>();
    // A separate thread: the runtime would wait for a pending read at its shutdown.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(ending);
    });
    // Nothing is sent: the channel closes when standard input does.
    let _ = ended.await;
}
