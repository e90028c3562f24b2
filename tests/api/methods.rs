//! Methods of a type, on a node's one value and on several instances.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{World, soon};
use easyremote::client::Kind;
use easyremote::{Call, CallError, Client, Context, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

/// Answers with its name in front.
struct Model {
    name: String,
    words: Vec<String>,
    calls: AtomicU64,
}

impl Model {
    fn named(name: &str) -> Self {
        let words = ["a", "b", "c"].map(|word| format!("{name}-{word}")).into();
        Self { name: name.to_owned(), words, calls: AtomicU64::new(0) }
    }
}

/// A node's log, which a method takes beside its model.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

#[remote]
impl Model {
    /// The longest prompt, in bytes.
    pub(crate) const LONGEST: usize = 8;

    /// Says the prompt after its name.
    pub(crate) async fn say(&self, prompt: String) -> String {
        tokio::task::yield_now().await;
        self.calls.fetch_add(1, Ordering::Relaxed);
        format!("{}: {prompt}", self.name)
    }

    /// Adds on a blocking thread.
    pub(crate) fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    #[remote(inline, name = "calls.count")]
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn word(&self, index: usize) -> Result<String, String> {
        self.words.get(index).cloned().ok_or_else(|| format!("there is no word {index}"))
    }

    #[remote(stream)]
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.words.iter().cloned()
    }

    #[remote(stream)]
    pub(crate) async fn words_after_a_while(
        &self,
        from: usize,
    ) -> Result<impl Iterator<Item = String>, String> {
        tokio::task::yield_now().await;
        let words = self.words.get(from..).ok_or("from beyond the end")?;
        Ok(words.iter().cloned())
    }

    #[remote(stream)]
    pub(crate) fn tokens(&self, prompt: String) -> impl Stream<Item = String> {
        stream::iter(&self.words).map(move |word| format!("{prompt} {word}"))
    }

    pub(crate) async fn total(&self, start: u64, numbers: impl Stream<Item = u64>) -> u64 {
        numbers.fold(start, |sum, number| async move { sum + number }).await
    }

    #[remote(stream)]
    pub(crate) fn label(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = String> {
        numbers.map(|number| format!("{} {number}", self.name))
    }

    pub(crate) async fn about(
        &self,
        #[state] log: &Log,
        text: String,
        #[ctx] ctx: &Context,
    ) -> (String, Option<String>) {
        log.0.lock().unwrap().push(text);
        (ctx.function().to_owned(), ctx.instance().map(str::to_owned))
    }

    pub(crate) fn panics(&self) {
        panic!("as told");
    }

    pub(crate) fn new() -> Self {
        Self::named("new")
    }

    #[remote(skip)]
    pub(crate) fn rename(&mut self, name: &str) {
        self.name = name.to_owned();
    }
}

#[tokio::test]
async fn methods_are_called_on_the_node_s_value() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![Model]).state(Log::default());
    let model = Arc::new(Model::named("m"));
    let _node = soon(node.shared_state(model.clone()).serve()).await.unwrap();
    let client = world.client().await;
    let remote = Model::remote(&client);
    assert_eq!(soon(remote.say("hello".into())).await.unwrap(), "m: hello");
    assert_eq!(soon(remote.add(1, 2)).await.unwrap(), 3);
    // The program shares it.
    model.calls.store(7, Ordering::Relaxed);
    assert_eq!(soon(remote.calls()).await.unwrap(), 7);
    assert_eq!(soon(remote.word(1)).await.unwrap(), "m-b");
    let error = soon(ModelClient::new(&client).word(9)).await.unwrap_err();
    assert!(matches!(error, CallError::Function(text) if text == "there is no word 9"));
    let about = soon(remote.about("noted".into())).await.unwrap();
    assert_eq!(about, ("Model.about".to_owned(), None));
}

#[tokio::test]
async fn streams_borrow_from_the_node_s_value() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![Model]).state(Log::default());
    let _node = soon(node.state(Model::named("m")).serve()).await.unwrap();
    let client = world.client().await;
    let remote = Model::remote(&client);
    let words = soon(remote.words().try_collect::<Vec<_>>()).await.unwrap();
    assert_eq!(words, ["m-a", "m-b", "m-c"]);
    let late = soon(remote.words_after_a_while(2).open()).await.unwrap();
    assert_eq!(soon(late.try_collect::<Vec<_>>()).await.unwrap(), ["m-c"]);
    let error = soon(remote.words_after_a_while(4).open()).await.unwrap_err();
    assert!(matches!(error, CallError::Function(text) if text == "from beyond the end"));
    let tokens = soon(remote.tokens("x".into()).try_collect::<Vec<_>>()).await.unwrap();
    assert_eq!(tokens, ["x m-a", "x m-b", "x m-c"]);
    assert_eq!(soon(remote.total(1, stream::iter(0..100))).await.unwrap(), 4_951);
    let labels = remote.label(stream::iter(1..3)).try_collect::<Vec<_>>();
    assert_eq!(soon(labels).await.unwrap(), ["m 1", "m 2"]);
}

#[test]
fn methods_stay_callable_locally() {
    let mut model = Model::new();
    model.rename("local");
    assert_eq!(futures::executor::block_on(model.say("x".into())), "local: x");
    assert_eq!(model.words().count(), 3);
    assert_eq!(Model::LONGEST, 8);
}

#[tokio::test]
async fn several_instances_of_a_type_are_told_apart() {
    let world = World::start().await;
    let node = world
        .node_builder()
        .functions(functions![Model])
        .state(Log::default())
        .instance("small", Model::named("s"))
        .shared_instance("large/2", Arc::new(Model::named("l")));
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let remote = Model::remote(&client);
    let (small, large) = (remote.instance("small"), remote.instance("large/2"));
    assert_eq!(soon(small.say("x".into())).await.unwrap(), "s: x");
    assert_eq!(soon(large.say("x".into())).await.unwrap(), "l: x");
    let words = soon(small.words().try_collect::<Vec<_>>()).await.unwrap();
    assert_eq!(words, ["s-a", "s-b", "s-c"]);
    let labels = large.label(stream::iter([1])).try_collect::<Vec<_>>();
    assert_eq!(soon(labels).await.unwrap(), ["l 1"]);
    assert_eq!(soon(large.total(0, stream::iter([1, 2]))).await.unwrap(), 3);
    let (function, instance) = soon(large.about("noted".into())).await.unwrap();
    assert_eq!((&*function, instance.as_deref()), ("Model:large/2.about", Some("large/2")));
    let error = soon(small.panics()).await.unwrap_err();
    assert_eq!(error.to_string(), "`Model:small.panics` panicked: as told");
    // Without a state, there is nothing without a name.
    let error = soon(remote.say("x".into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
    let error = soon(remote.instance("medium").say("x".into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
}

#[tokio::test]
async fn a_state_and_instances_go_together_with_functions() {
    #[remote]
    fn double(number: u64) -> u64 {
        2 * number
    }

    let world = World::start().await;
    let node = world.node_builder().functions(functions![double, Model_add, Model_say]);
    // The last one of a name counts.
    let node = node.state(Model::named("old")).instance("other", Model::named("old"));
    let node = node.state(Model::new()).instance("other", Model::named("o"));
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    assert_eq!(soon(double::call(&client, 2)).await.unwrap(), 4);
    assert_eq!(soon(Model::remote(&client).say("x".into())).await.unwrap(), "new: x");
    assert_eq!(
        soon(Model::remote(&client).instance("other").say("x".into())).await.unwrap(),
        "o: x"
    );
    let listed = soon(client.functions()).await.unwrap();
    let names: Vec<&str> = listed.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["Model.add", "Model.say", "Model:other.add", "Model:other.say", "double"]);
    for add in [&listed[0], &listed[2]] {
        assert_eq!(add.signature, "(a: i64, b: i64) -> i64");
        assert_eq!((add.doc.as_str(), add.kind), ("Adds on a blocking thread.", Kind::Unary));
    }
}

#[tokio::test]
async fn a_method_is_called_by_name_with_json() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![Model]).state(Log::default());
    let node = node.state(Model::named("m")).instance("small", Model::named("s"));
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let answer = client.call_json("Model.say", json!({"prompt": "x"}));
    assert_eq!(soon(answer).await.unwrap(), json!("m: x"));
    let answer = client.call_json("Model:small.say", json!(["x"]));
    assert_eq!(soon(answer).await.unwrap(), json!("s: x"));
    assert_eq!(soon(client.call_json("Model.calls.count", json!([]))).await.unwrap(), json!(1));
    let items = client.stream_json("Model.tokens", json!(["x"])).try_collect::<Vec<_>>();
    assert_eq!(soon(items).await.unwrap(), [json!("x m-a"), json!("x m-b"), json!("x m-c")]);
}

#[tokio::test]
async fn a_node_without_a_value_of_the_type_does_not_start() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![Model]).state(Log::default());
    // An `Arc` is another type.
    let error = soon(node.state(Arc::new(Model::new())).serve()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    for part in [
        "`Model.say` is a method of `api::methods::Model`",
        "`Node::builder(..).state(value)`",
        "`.instance(\"name\", value)`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let node = world.node_builder().functions(functions![Model]).state(Model::new());
    let text = soon(node.serve()).await.unwrap_err().to_string();
    assert!(text.contains("`Model.about` needs a state of type `api::methods::Log`"), "{text}");
}

#[tokio::test]
async fn a_bad_instance_name_is_refused_on_both_sides() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![Model_add]).state(Model::new());
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let long = "x".repeat(128 - "Model:.add".len() + 1);
    for (name, part) in [
        ("", "is empty"),
        ("a.b", "`a.b` has a `.`"),
        ("a:b", "has a `:`"),
        ("ä", "has a `ä`"),
        (&long, "has 129 bytes, 128 are allowed"),
    ] {
        let node = world.node_builder().functions(functions![Model_add]);
        let error = soon(node.instance(name, Model::new()).serve()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(part), "{error}");
        let error = soon(Model::remote(&client).instance(name).add(1, 2)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn functions_are_counted_once_for_each_instance() {
    let world = World::start().await;
    let node = |instances: usize| {
        let node = world.node_builder().functions(functions![Model_add]);
        (0..instances).fold(node, |node, n| node.instance(n.to_string(), Model::new())).serve()
    };
    let error = soon(node(1_025)).await.unwrap_err();
    assert_eq!(error.to_string(), "this node offers 1025 functions; at most 1024 are allowed");
    let _node = soon(node(1_024)).await.unwrap();
    let client = world.client().await;
    assert_eq!(soon(Model::remote(&client).instance("1023").add(1, 2)).await.unwrap(), 3);
}

/// A call of a method has a name, and so has the handle.
struct Waiting {
    remote: ModelClient,
    call: Call<Model_say>,
}

#[tokio::test]
async fn calls_of_methods_can_be_stored_and_sent() {
    fn sendable<T: Send + Sync + Clone + std::fmt::Debug + 'static>(value: T) -> T {
        value
    }

    let world = World::start().await;
    let node = world.node_builder().functions(functions![Model_say]).state(Model::named("m"));
    let _node = soon(node.serve()).await.unwrap();
    let client: Client = world.client().await;
    let remote = sendable(Model::remote(&client));
    let waiting = Waiting { call: remote.say("x".into()), remote };
    let answer = tokio::spawn(waiting.call);
    assert_eq!(soon(answer).await.unwrap().unwrap(), "m: x");
    assert_eq!(soon(waiting.remote.say("y".into())).await.unwrap(), "m: y");
}
