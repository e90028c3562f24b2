//! Traits, who implements them, and who calls them.
#![deny(warnings, private_interfaces, private_bounds)]

use std::fmt::Debug;

use easyremote::{Client, Context, Error, functions, remote};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};

mod api {
    use easyremote::{Context, remote};
    use futures::stream::BoxStream;
    use futures::{Stream, StreamExt};

    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Missing;

    /// What embeds.
    #[remote(name = "ai.Embedder")]
    pub trait Embedder {
        async fn embed(&self, text: String) -> Vec<f32>;

        async fn nothing(&self) {}

        /// Has a body, which awaits another method.
        async fn length(&self, mut text: String, #[ctx] _ctx: &Context) -> Result<u64, Missing> {
            text.push('x');
            Ok(self.embed(text).await.len() as u64)
        }

        fn add(&self, a: i64, b: i64) -> i64;

        #[remote(inline, name = "tiny")]
        fn small(&self) -> u8 {
            1
        }

        #[remote(stream)]
        fn tokens(&self, prompt: String) -> impl Stream<Item = String>;

        #[remote(stream)]
        async fn rows(&self) -> Result<impl Stream<Item = Result<u64, Missing>>, Missing>;

        #[remote(stream)]
        fn boxed(&self) -> BoxStream<'_, u64>;

        #[remote(stream)]
        async fn late(&self, to: u64) -> impl Iterator<Item = u64> {
            0..to
        }

        async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64 {
            numbers.fold(0, |a, b| async move { a + b }).await
        }

        #[remote(stream)]
        fn double(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64>;

        #[remote(skip)]
        fn name() -> &'static str;

        #[cfg(any())]
        fn absent(&self) -> DoesNotExist;
    }
}

use api::{Embedder, EmbedderClient, EmbedderServer, Missing};

struct Model(Vec<String>);

impl Embedder for Model {
    async fn embed(&self, text: String) -> Vec<f32> {
        tokio::task::yield_now().await;
        vec![self.0.len() as f32; text.len()]
    }

    fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    fn tokens(&self, prompt: String) -> impl Stream<Item = String> {
        stream::iter(&self.0).map(move |word| format!("{prompt} {word}"))
    }

    async fn rows(&self) -> Result<impl Stream<Item = Result<u64, Missing>>, Missing> {
        Ok(stream::iter(self.0.iter().map(|word| Ok(word.len() as u64))))
    }

    fn boxed(&self) -> BoxStream<'_, u64> {
        stream::iter(self.0.iter().map(|word| word.len() as u64)).boxed()
    }

    // `Send` is known from the trait.
    fn double(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        numbers.map(|number| 2 * number)
    }

    fn name() -> &'static str {
        "model"
    }
}

/// Generic, and written out.
struct Twice<E>(E);

impl<E: Embedder + Debug> Embedder for Twice<E> {
    fn embed(&self, text: String) -> impl Future<Output = Vec<f32>> + Send {
        self.0.embed(text.repeat(2))
    }

    fn add(&self, a: i64, b: i64) -> i64 {
        2 * self.0.add(a, b)
    }

    fn tokens(&self, prompt: String) -> impl Stream<Item = String> {
        self.0.tokens(prompt)
    }

    async fn rows(&self) -> Result<impl Stream<Item = Result<u64, Missing>>, Missing> {
        self.0.rows().await
    }

    fn boxed(&self) -> BoxStream<'_, u64> {
        self.0.boxed()
    }

    fn double(&self, numbers: impl Stream<Item = u64> + Send) -> impl Stream<Item = u64> {
        self.0.double(numbers)
    }

    fn name() -> &'static str {
        "twice"
    }
}

impl Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Model")
    }
}

/// Private, with a name of its own for the handle, and more than it must be.
#[remote(stub = Clock)]
trait Timer: Clone + Debug {
    fn now(&self, #[state] _log: &String, #[ctx] _: &Context) -> u64;
}

async fn callers(client: Client) -> Result<(), Error> {
    let embedder = EmbedderClient::new(&client);
    let _: Vec<f32> = embedder.embed("x".into()).await?;
    let _: u64 = embedder.instance("small").sum(stream::iter([1])).tag("gpu").await?;
    let _: Option<Result<String, Error>> = embedder.tokens("x".into()).next().await;
    let _: Result<u64, easyremote::CallError<Missing>> = embedder.length("x".into()).await;
    let _: u64 = Clock::new(&client).now().await?;
    Ok(())
}

fn main() {
    let _ = callers;
    let functions = functions![EmbedderServer<Model>, EmbedderServer<Twice<Model>>];
    let names: Vec<&str> = functions.names().collect();
    assert_eq!(names[..3], ["ai.Embedder.embed", "ai.Embedder.nothing", "ai.Embedder.length"]);
    assert!(names.contains(&"ai.Embedder.tiny"), "{names:?}");
    assert_eq!(names.len(), 22);
    assert_eq!(Twice(Model(vec![])).add(1, 2), 6);
    assert_eq!((Model::name(), Twice::<Model>::name()), ("model", "twice"));
}
