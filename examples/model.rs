//! A small language model on a node: tokens arrive one by one while it computes, and it stops as
//! soon as the client has read enough.

use std::collections::HashMap;
use std::io::{Write, stdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use easyremote::{CallError, Client, Gateway, Node, Options, functions, remote};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;
use tokio::time::sleep;

/// The training text: Lewis Carroll, "Alice's Adventures in Wonderland" (1865).
const TEXT: &str = "Alice was beginning to get very tired of sitting by her sister on the bank, and \
    of having nothing to do. There was nothing so very remarkable in that. Alice did not think it so \
    very much out of the way to hear the Rabbit say to itself that it was late. She got up and ran \
    across the field after the Rabbit, and was just in time to see it pop down a large hole under \
    the hedge. Down went Alice after it, never once considering how in the world she was to get out \
    again. Down, down, down. There was nothing else to do. So Alice soon began talking again.";

/// A Markov chain: which words follow one. A node loads it once, and all calls share it.
struct Model {
    name: &'static str,
    followers: HashMap<&'static str, Vec<&'static str>>,
    /// Tokens produced for all callers.
    tokens: AtomicU64,
    /// Held by each stream while it exists.
    busy: RwLock<()>,
}

impl Model {
    fn load() -> Self {
        let words: Vec<_> = TEXT.split_whitespace().collect();
        let mut followers: HashMap<_, Vec<_>> = HashMap::new();
        for pair in words.windows(2) {
            followers.entry(pair[0]).or_default().push(pair[1]);
        }
        Self { name: "alice-1", followers, tokens: AtomicU64::new(0), busy: RwLock::new(()) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Refusal {
    UnknownModel { known: String },
    EmptyPrompt,
}

/// Continues `prompt` without end; the same `seed` generates the same words.
#[remote(stream)]
async fn generate(
    #[state] model: &Model,
    name: String,
    prompt: String,
    seed: u64,
) -> Result<impl Stream<Item = String>, Refusal> {
    if name != model.name {
        return Err(Refusal::UnknownModel { known: model.name.to_owned() });
    }
    let mut last = prompt.split_whitespace().last().ok_or(Refusal::EmptyPrompt)?.to_owned();
    let mut random = fastrand::Rng::with_seed(seed);
    let busy = model.busy.read().await;
    Ok(async_stream::stream! {
        let _busy = busy;
        loop {
            sleep(Duration::from_millis(30)).await; // what a large model would compute
            let known = model.followers.get(last.as_str()).or(model.followers.get("Alice"));
            let next = known.and_then(|words| random.choice(words)).expect("the text has words");
            last = (*next).to_owned();
            model.tokens.fetch_add(1, Ordering::Relaxed);
            yield last.clone();
        }
    })
}

/// Waits until no stream is left. Returns the number of tokens produced.
#[remote]
async fn idle(#[state] model: &Model) -> u64 {
    let _nobody = model.busy.write().await;
    model.tokens.load(Ordering::Relaxed)
}

/// Prints words as they arrive, and drops the stream at the end of a sentence. Returns their
/// number.
async fn sentence(client: &Client, seed: u64) -> Result<u64, CallError<Refusal>> {
    let asked = Instant::now();
    let call = generate::call(client, "alice-1".into(), "So Alice".into(), seed);
    let (mut tokens, mut n, mut first) = (call.open().await?, 0, Duration::ZERO);
    print!("So Alice");
    while let Some(token) = tokens.next().await {
        let token = token?;
        print!(" {token}");
        let _ = stdout().flush();
        if n == 0 {
            first = asked.elapsed();
        }
        n += 1;
        if token.ends_with('.') {
            break;
        }
    }
    println!(
        "\n  [the first of {n} words after {first:.0?}, the last after {:.0?}]",
        asked.elapsed()
    );
    Ok(n)
}

#[tokio::main]
async fn main() -> Result<(), CallError<Refusal>> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let functions = functions![generate, idle];
    let _node = Node::builder(address).state(Model::load()).functions(functions).serve().await?;
    // A timeout for every call made with this handle.
    let client = Client::connect(address).await?;
    let client = client.with(Options::new().timeout(Duration::from_secs(30)));

    let taken = sentence(&client, 1).await? + sentence(&client, 2).await?;
    let produced = idle::call(&client).timeout(Duration::from_secs(5)).await?;
    println!("read {taken} tokens; the node produced {produced} and has stopped");
    assert!((taken..taken + 100).contains(&produced), "the node went on without a reader");

    for (name, prompt) in [("bob-9", "So"), ("alice-1", " ")] {
        match generate::call(&client, name.into(), prompt.into(), 1).open().await {
            Err(CallError::Function(refusal)) => println!("{name}, {prompt:?}: {refusal:?}"),
            Err(CallError::Remote(error)) => return Err(error.into()),
            Ok(_) => panic!("{name} should not answer {prompt:?}"),
        }
    }
    Ok(())
}
