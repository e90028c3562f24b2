//! The gateway of a program of three processes. In three terminals, in any order:
//!
//! ```text
//! cargo run --example gateway
//! cargo run --example node
//! cargo run --example client
//! ```
//!
//! It drains and ends on Ctrl-C or SIGTERM, and when no one has been connected for a minute (`--
//! 5`: for 5 s).

use std::time::{Duration, Instant};

use easyremote::{Gateway, Role};

#[tokio::main]
async fn main() -> Result<(), easyremote::Error> {
    // Use "0.0.0.0:8080" to be reached from other machines: they need the tickets printed here.
    let gateway = Gateway::serve("127.0.0.1:8080").await?;
    println!("listening on {}", gateway.local_addr());
    println!("ticket for nodes:   {}", gateway.ticket(Role::Node));
    println!("ticket for clients: {}", gateway.ticket(Role::Client));
    tokio::select! {
        () = easyremote::shutdown_signal() => println!("draining"),
        () = stays_idle(&gateway) => println!("idle: no one is connected"),
    }
    gateway.drain(Duration::from_secs(30)).await;
    Ok(())
}

/// Resolves when no one has been connected for a while.
async fn stays_idle(gateway: &Gateway) {
    let patience = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(patience) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if gateway.stats().connections > 0 {
            last = Instant::now();
        }
    }
}
