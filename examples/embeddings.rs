//! An embedding service: many callers with a text each, few runs of the model with many texts each.
//!
//! The node turns texts into vectors, in batches. Here a batch takes as long as a text alone, as on
//! a GPU. The client embeds sentences one by one, all at the same time, and then finds those that
//! are closest to a question.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use easyremote::{Client, Error, Gateway, Node, functions, remote};
use futures::future::try_join_all;

/// Length of a vector.
const DIMENSIONS: usize = 512;

/// How long a run takes, whatever its size.
const RUN: Duration = Duration::from_millis(20);

/// Embeds texts. Similar texts have vectors with a large dot product.
#[remote(batch(max = 32, wait = "5ms"), concurrency = 1)]
fn embed(texts: Vec<String>) -> Vec<Vec<f32>> {
    std::thread::sleep(RUN);
    texts.iter().map(|text| vector(text)).collect()
}

/// Returns the unit vector of a text: counts of its trigrams, each at a place that its hash selects.
fn vector(text: &str) -> Vec<f32> {
    let padded: Vec<char> = format!(" {} ", text.to_lowercase()).chars().collect();
    let mut vector = vec![0.0; DIMENSIONS];
    for trigram in padded.windows(3) {
        // FNV-1a: the same on every machine, unlike the standard library's hash.
        let hash = trigram.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, c| {
            (hash ^ u64::from(*c)).wrapping_mul(0x0100_0000_01b3)
        });
        vector[(hash % DIMENSIONS as u64) as usize] += 1.0;
    }
    let length = dot(&vector, &vector).sqrt();
    vector.iter().map(|x| x / length.max(f32::MIN_POSITIVE)).collect()
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(l, r)| l * r).sum()
}

const SENTENCES: [&str; 8] = [
    "The node dials out to the gateway and runs functions.",
    "A gateway listens on a port and routes calls to nodes.",
    "Streams are live, endless and constant in memory.",
    "A slow reader makes the producer wait.",
    "Bake the bread for forty minutes at a low heat.",
    "The dough has to rise overnight in a cool place.",
    "Dropping a call cancels the function on the node.",
    "Every failure says whether the function may have run.",
];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let node = Node::serve(gateway.local_addr(), functions![embed]).await?;
    let client = Client::connect(gateway.local_addr()).await?;

    // Two hundred callers, none of which knows of the others.
    let texts = (0..25).flat_map(|n| SENTENCES.iter().map(move |text| format!("{text} ({n})")));
    let begun = Instant::now();
    let calls = texts.map(|text| embed::call(&client, text).traced().into_future());
    let embedded = try_join_all(calls).await?;
    let taken = begun.elapsed();

    // Each caller of a batch of 32 has seen it.
    let mut sizes = BTreeMap::<u32, usize>::new();
    for (_, trace) in &embedded {
        if let Some(batch) = trace.batch {
            *sizes.entry(batch.size).or_default() += 1;
        }
    }
    println!("{} texts in {taken:?}; one by one: {:?}", embedded.len(), RUN * 200);
    for (size, callers) in &sizes {
        println!("{:>4} batches of {size} texts", callers / *size as usize);
    }

    for question in ["how long do I bake bread?", "which port does the gateway listen on?"] {
        let asked = embed::call(&client, question.to_owned()).await?;
        let stored = SENTENCES.iter().zip(&embedded);
        let mut found: Vec<_> =
            stored.map(|(text, (vector, _))| (dot(&asked, vector), text)).collect();
        found.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        println!("{question}");
        for (similarity, text) in &found[..2] {
            println!("{similarity:>6.2}  {text}");
        }
        let word = question.split(' ').find(|word| ["bake", "gateway"].contains(word));
        assert!(found[0].1.to_lowercase().contains(word.expect("one of them")));
    }
    let runs: usize = sizes.iter().map(|(size, callers)| callers / *size as usize).sum();
    assert!(runs < 100, "{runs} runs of 200 calls");
    node.shutdown().await;
    Ok(())
}
