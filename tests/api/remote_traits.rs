//! Methods of a trait, and what implements it on nodes.

use common::{World, soon};
use easyremote::client::Kind;
use easyremote::{CallError, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

/// What a crate shared by clients and nodes would hold.
mod api {
    use easyremote::{Context, remote};
    use futures::{Stream, StreamExt};

    #[remote]
    pub(crate) trait Embedder {
        /// As many numbers as the text has bytes.
        async fn embed(&self, text: String) -> Result<Vec<f32>, String>;

        #[remote(stream)]
        fn tokens(&self, prompt: String) -> impl Stream<Item = String>;

        #[remote(stream)]
        async fn rows(&self, id: u64) -> Result<impl Stream<Item = u64>, String>;

        #[remote(stream)]
        fn numbers(&self, to: u64) -> impl Iterator<Item = u64>;

        fn add(&self, a: i64, b: i64) -> i64;

        async fn count(&self, items: impl Stream<Item = u64>) -> u64;

        /// Says where it was called.
        async fn whereabouts(&self, #[ctx] ctx: &Context) -> String {
            let sum = self.add(1, 2);
            format!("{} {:?} {sum}", ctx.node(), ctx.instance())
        }

        #[remote(stream)]
        fn twice(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
            items.map(|item| 2 * item)
        }
    }
}

use api::{Embedder, EmbedderClient, EmbedderServer};

/// Implements the trait, with all sums `N` times as large.
struct Scaled<const N: i64>(Vec<u64>);

impl<const N: i64> Embedder for Scaled<N> {
    async fn embed(&self, text: String) -> Result<Vec<f32>, String> {
        tokio::task::yield_now().await;
        match text.len() {
            0 => Err("nothing to embed".to_owned()),
            length => Ok(vec![N as f32; length]),
        }
    }

    fn tokens(&self, prompt: String) -> impl Stream<Item = String> {
        stream::iter(&self.0).map(move |number| format!("{prompt}{number}"))
    }

    async fn rows(&self, id: u64) -> Result<impl Stream<Item = u64>, String> {
        match id {
            0 => Err("no such rows".to_owned()),
            _ => Ok(stream::iter(self.0.iter().map(move |row| row * id))),
        }
    }

    fn numbers(&self, to: u64) -> impl Iterator<Item = u64> {
        self.0.iter().copied().take_while(move |number| *number < to)
    }

    fn add(&self, a: i64, b: i64) -> i64 {
        N * (a + b)
    }

    async fn count(&self, items: impl Stream<Item = u64>) -> u64 {
        items.count().await as u64
    }
}

type Single = Scaled<1>;
type Tenfold = Scaled<10>;

#[tokio::test]
async fn implementations_of_a_trait_serve_the_same_client() {
    let world = World::start().await;
    let one = world.node_builder().id("one").functions(functions![EmbedderServer<Single>]);
    let _one = soon(one.state(Scaled::<1>(vec![1, 2, 3])).serve()).await.unwrap();
    let ten = world.node_builder().id("ten").functions(functions![EmbedderServer<Tenfold>]);
    let _ten = soon(ten.state(Scaled::<10>(vec![4])).serve()).await.unwrap();
    let embedder = EmbedderClient::new(&world.client().await);
    for (node, factor, rows) in [("one", 1, &[2, 4, 6][..]), ("ten", 10, &[8])] {
        let vector = soon(embedder.embed("ab".into()).on(node)).await.unwrap();
        assert_eq!(vector, [factor as f32; 2]);
        assert_eq!(soon(embedder.add(1, 2).on(node)).await.unwrap(), 3 * factor);
        let found = soon(embedder.rows(2).on(node).open()).await.unwrap();
        assert_eq!(soon(found.try_collect::<Vec<_>>()).await.unwrap(), rows);
        let text = soon(embedder.whereabouts().on(node)).await.unwrap();
        assert_eq!(text, format!("{node} None {}", 3 * factor));
    }
    let error = soon(embedder.embed(String::new())).await.unwrap_err();
    assert!(matches!(error, CallError::Function(text) if text == "nothing to embed"));
    let tokens = embedder.tokens("t".into()).on("one").try_collect::<Vec<_>>();
    assert_eq!(soon(tokens).await.unwrap(), ["t1", "t2", "t3"]);
    let numbers = embedder.numbers(3).on("one").try_collect::<Vec<_>>();
    assert_eq!(soon(numbers).await.unwrap(), [1, 2]);
    assert_eq!(soon(embedder.count(stream::iter(0..9))).await.unwrap(), 9);
    let twice = embedder.twice(stream::iter(1..3)).try_collect::<Vec<_>>();
    assert_eq!(soon(twice).await.unwrap(), [2, 4]);
}

#[tokio::test]
async fn implementations_of_a_trait_share_a_node_as_instances() {
    let world = World::start().await;
    let functions = || functions![EmbedderServer<Single>, EmbedderServer<Tenfold>];
    let node = world.node_builder().functions(functions());
    let (single, tenfold) = (Scaled::<1>(vec![]), Scaled::<10>(vec![]));
    let _node = soon(node.instance("one", single).instance("ten", tenfold).serve()).await.unwrap();
    let embedder = EmbedderClient::new(&world.client().await);
    assert_eq!(soon(embedder.instance("one").add(1, 2)).await.unwrap(), 3);
    assert_eq!(soon(embedder.instance("ten").add(1, 2)).await.unwrap(), 30);

    let node = world.node_builder().functions(functions());
    let node = node.state(Scaled::<1>(vec![])).state(Scaled::<10>(vec![]));
    let text = soon(node.serve()).await.unwrap_err().to_string();
    let part = "is a method of two values, of type `api::remote_traits::Scaled<1>` and of type";
    assert!(text.contains(part) && text.contains(".instance(\"name\", value)"), "{text}");
}

#[tokio::test]
async fn methods_of_a_trait_are_listed_and_called_by_name() {
    #[remote]
    fn double(number: u64) -> u64 {
        2 * number
    }

    let functions = functions![double, EmbedderServer<Single>];
    let names: Vec<&str> = functions.names().collect();
    assert_eq!(names[..3], ["double", "Embedder.embed", "Embedder.tokens"]);
    let world = World::start().await;
    let node = world.node_builder().functions(functions).state(Scaled::<1>(vec![7]));
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let listed = soon(client.functions()).await.unwrap();
    let tokens = listed.iter().find(|function| function.name == "Embedder.tokens").unwrap();
    assert_eq!(tokens.kind, Kind::Stream);
    assert_eq!(tokens.signature, "(prompt: String) -> impl Stream<Item = String>");
    let sum = client.call_json("Embedder.add", json!({"a": 1, "b": 2}));
    assert_eq!(soon(sum).await.unwrap(), json!(3));
    let tokens = client.stream_json("Embedder.tokens", json!(["t"])).try_collect::<Vec<_>>();
    assert_eq!(soon(tokens).await.unwrap(), [json!("t7")]);
}

#[test]
fn a_trait_is_implemented_and_used_as_before() {
    let embedded = futures::executor::block_on(Scaled::<2>(vec![]).embed("ab".into()));
    assert_eq!(embedded, Ok(vec![2.0; 2]));
    assert_eq!(Scaled::<2>(vec![]).add(1, 2), 6);
}
