//! NATS over TLS: request and reply, and streams, through `nats-server`.
//!
//! A stream is a series of messages to an inbox of the client. The broker has no flow control: it
//! drops a receiver that is too slow. So the client grants credit, half of it at a time, as users of
//! NATS do who may lose nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::{Client, ConnectOptions, Message, Subject};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::rival::{Caller, Place, Rival, Running, Shape, Wanted};
use crate::tls;

pub struct Nats;

const SERVER: &str = "nats-server";

/// Whether the broker is installed.
pub fn is_installed() -> bool {
    Command::new(SERVER).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Items and bytes of items that may be under way in a stream.
const CREDIT: u64 = 32_768;
const CREDIT_BYTES: u64 = 8 << 20;

fn credit(length: u64) -> u64 {
    CREDIT.min(CREDIT_BYTES / length.max(1)).max(2)
}

impl Rival for Nats {
    type Caller = Client;

    const SHAPE: Shape = Shape::Broker;

    const OWN_MIDDLE: bool = false;

    /// Becomes the broker: the process stays the one whose cost is measured.
    async fn middle(place: Place) -> Result<Running> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let path = place.directory.join("nats.conf");
        let (certificate, key) =
            (place.directory.join(tls::CERTIFICATE), place.directory.join(tls::KEY));
        let text = format!(
            "listen: \"{address}\"\nmax_payload: 16MB\nlog_file: \"/dev/null\"\ntls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n"
        );
        fs::write(&path, text)?;
        crate::process::say_ready(address);
        Err(Command::new(SERVER).arg("-c").arg(path).exec()).context("running nats-server")
    }

    async fn node(place: Place) -> Result<Running> {
        let client = Self::connect(place.clone()).await?;
        let echo = client.queue_subscribe("echo", "nodes".into()).await?;
        let items = client.queue_subscribe("items", "nodes".into()).await?;
        // The broker must know of both before anybody asks.
        client.flush().await?;
        let tasks = (
            tokio::spawn(answer_all(client.clone(), echo)),
            tokio::spawn(stream_all(client, items)),
        );
        Ok(Running::new(place.target(), tasks))
    }

    async fn connect(place: Place) -> Result<Client> {
        let patience = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let options = ConnectOptions::new()
                .require_tls(true)
                .add_root_certificates(place.directory.join(tls::CERTIFICATE))
                .subscription_capacity(2 * CREDIT as usize)
                .client_capacity(8_192);
            match options.connect(url(place.target())).await {
                Ok(client) => return Ok(client),
                // The broker listens a little after it has begun.
                Err(_) if tokio::time::Instant::now() < patience => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn url(address: SocketAddr) -> String {
    format!("tls://{}:{}", tls::NAME, address.port())
}

async fn answer_all(client: Client, mut calls: async_nats::Subscriber) -> Result<()> {
    while let Some(call) = calls.next().await {
        if let Some(reply) = call.reply {
            client.publish(reply, call.payload).await?;
        }
    }
    Ok(())
}

async fn stream_all(client: Client, mut calls: async_nats::Subscriber) -> Result<()> {
    while let Some(call) = calls.next().await {
        tokio::spawn(stream_items(client.clone(), call));
    }
    Ok(())
}

async fn stream_items(client: Client, call: Message) -> Result<()> {
    let reply = call.reply.context("a request without a reply subject")?;
    let (wanted, grants) = read(&call.payload).context("malformed request")?;
    let mut grants = client.subscribe(grants).await?;
    let item = Bytes::from(vec![7; wanted.length as usize]);
    let mut left = credit(wanted.length);
    for _ in 0..wanted.n {
        if left == 0 {
            grants.next().await.context("the client is gone")?;
            left = credit(wanted.length) / 2;
        }
        left -= 1;
        client.publish(reply.clone(), item.clone()).await?;
    }
    if wanted.stays {
        // Only the end of the client's grants ends it.
        while grants.next().await.is_some() {}
    }
    Ok(())
}

fn put(wanted: Wanted, grants: &str) -> Bytes {
    format!("{} {} {} {grants}", wanted.n, wanted.length, wanted.stays).into()
}

fn read(payload: &[u8]) -> Option<(Wanted, Subject)> {
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    let (n, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let stays = words.next()?.parse().ok()?;
    Some((Wanted { n, length, stays }, words.next()?.to_owned().into()))
}

impl Caller for Client {
    const STREAMS: bool = true;

    async fn echo(&self, bytes: Bytes) -> Result<Bytes> {
        Ok(self.request("echo", bytes).await?.payload)
    }

    fn items(&self, wanted: Wanted) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let client = self.clone();
        let opened = async move {
            let (inbox, grants) = (client.new_inbox(), client.new_inbox());
            let items = client.subscribe(inbox.clone()).await?;
            client.publish_with_reply("items", inbox, put(wanted, &grants)).await?;
            anyhow::Ok(Receiving { client, items, grants: grants.into(), wanted, received: 0 })
        };
        stream::once(opened).flat_map(|opened| match opened {
            Ok(receiving) => stream::try_unfold(receiving, Receiving::next).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
    }
}

/// The client's side of a stream.
struct Receiving {
    client: Client,
    items: async_nats::Subscriber,
    grants: Subject,
    wanted: Wanted,
    received: u64,
}

impl Receiving {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        if self.received == self.wanted.n && !self.wanted.stays {
            return Ok(None);
        }
        let Some(item) = self.items.next().await else { bail!("the stream broke") };
        self.received += 1;
        if self.received.is_multiple_of(credit(self.wanted.length) / 2) {
            self.client.publish(self.grants.clone(), Bytes::new()).await?;
        }
        Ok(Some((item.payload, self)))
    }
}
