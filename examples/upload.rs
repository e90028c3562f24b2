//! Uploads a file as a stream: the node hashes it while it arrives, and the progress bar moves as
//! fast as the node reads.

use std::future::ready;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use easyremote::{Client, Gateway, Node, functions, remote};
use futures::{Stream, StreamExt};
use ring::digest::{self, SHA256};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

const MIB: u64 = 1 << 20;
const FILE: u64 = 32 * MIB + 4_711;
const CHUNK: usize = 64 << 10;

/// The directory that the node writes to.
#[derive(Default)]
struct Store {
    received: AtomicU64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    size: u64,
    sha256: Vec<u8>,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("received only {received} bytes")]
struct Incomplete {
    received: u64,
}

/// Receives a file of `size` bytes, which is never in memory as a whole.
#[remote]
async fn upload(
    #[state] store: &Arc<Store>,
    size: u64,
    chunks: impl Stream<Item = Bytes>,
) -> Result<Receipt, Incomplete> {
    let mut chunks = std::pin::pin!(chunks);
    let mut digest = digest::Context::new(&SHA256);
    let mut received = 0;
    while let Some(chunk) = chunks.next().await {
        digest.update(&chunk);
        received += chunk.len() as u64;
        store.received.store(received, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await; // a slow disk
    }
    if received < size {
        return Err(Incomplete { received });
    }
    Ok(Receipt { size: received, sha256: digest.finish().as_ref().to_vec() })
}

/// Uploads the file at `path`, and shows the progress.
async fn send(client: &Client, store: Arc<Store>, path: &Path) -> Result<(Receipt, u64), Failure> {
    let file = File::open(path).await?;
    let size = file.metadata().await?.len();
    let furthest = Arc::new(AtomicU64::new(0));
    let (mut read, ahead) = (0, furthest.clone());
    let chunks = ReaderStream::with_capacity(file, CHUNK)
        // On a read error the stream ends early, and the node notices the missing bytes.
        .scan((), |(), chunk| {
            ready(chunk.inspect_err(|error| eprintln!("\nreading: {error}")).ok())
        })
        // Called when the call can send the next chunk: back-pressure reaches up to here.
        .inspect(move |chunk| {
            read += chunk.len() as u64;
            let received = store.received.load(Ordering::Relaxed);
            ahead.fetch_max(read - received, Ordering::Relaxed);
            bar(read, size);
        });
    let receipt = upload::call(client, size, chunks).await?;
    Ok((receipt, furthest.load(Ordering::Relaxed)))
}

fn bar(done: u64, size: u64) {
    let filled = (done * 40 / size) as usize;
    print!("\r[{:<40}] {:>3} %", "#".repeat(filled), done * 100 / size);
    let _ = stdout().flush();
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let store = Arc::new(Store::default());
    let node = Node::builder(address).state(store.clone()).functions(functions![upload]);
    let _node = node.serve().await?;
    let client = Client::connect(address).await?;

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("random.bin");
    let mut content = vec![0; FILE as usize];
    fastrand::Rng::new().fill(&mut content);
    tokio::fs::write(&path, &content).await?;

    let start = Instant::now();
    let (receipt, ahead) = send(&client, store, &path).await?;
    let (mib, seconds) = (FILE as f64 / MIB as f64, start.elapsed().as_secs_f64());
    println!("\n{mib:.1} MiB in {seconds:.1} s: {:.1} MiB/s, as fast as the node", mib / seconds);
    println!("never more than {} KiB were in flight", ahead >> 10);
    println!("sha256 {}", receipt.sha256.iter().map(|b| format!("{b:02x}")).collect::<String>());

    assert_eq!(receipt.size, FILE);
    assert_eq!(receipt.sha256, digest::digest(&SHA256, &content).as_ref(), "not the same file");
    assert!(ahead < 4 * MIB, "the file was read ahead of the node");
    Ok(())
}
