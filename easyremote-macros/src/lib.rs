//! The `#[remote]` attribute of [`easyremote`](https://docs.rs/easyremote).
//!
//! Use it through that crate, which re-exports it. The attribute works in four steps, each a
//! module:
//!
//! | module   | step                                                       |
//! |----------|------------------------------------------------------------|
//! | `args`   | parses the options in parentheses                          |
//! | `model`  | reads the item: a function, a block of methods, or a trait |
//! | `check`  | reports every mistake in it                                |
//! | `expand` | generates the code next to it                              |
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod args;
mod check;
mod expand;
mod mistakes;
mod model;
mod parameters;
mod returns;
mod types;

/// Makes a function callable from other machines, or all methods of a type or a trait.
///
/// The function itself is not changed. The attribute adds a *stub*, an empty struct of the same
/// name and visibility:
///
/// | expression                  | what it does                                             |
/// |-----------------------------|----------------------------------------------------------|
/// | `add(1, 2)`                 | calls the function in this process                       |
/// | `add::call(&client, 1, 2)`  | calls it on a node                                       |
/// | `add::map(&client, inputs)` | calls it with each of many inputs, spread over all nodes |
/// | `functions![add]`           | lists it for a node that offers it                       |
///
/// ```text
/// use easyremote::remote;
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 { a + b }
///
/// #[remote]
/// async fn fetch(url: String) -> Result<Page, FetchError> { .. }
///
/// #[remote(stream)]
/// fn lines(path: String) -> impl Iterator<Item = String> { .. }
///
/// #[remote(stream, timeout = "30s")]
/// async fn tail(id: u64) -> Result<impl Stream<Item = Row>, NotFound> { .. }
///
/// #[remote]
/// async fn generate(#[state] llm: &Llm, #[ctx] ctx: &Context, prompt: String) -> Answer { .. }
///
/// #[remote]
/// async fn upload(name: String, chunks: impl Stream<Item = Bytes>) -> u64 { .. }
/// ```
///
/// # Which functions
/// A free function that is neither generic nor `unsafe`; for methods see
/// [below](#methods-of-a-type). Its parameters and its result are owned types that implement
/// `Serialize` and `DeserializeOwned`.
///
/// | function                              | how a node runs it                             |
/// |---------------------------------------|------------------------------------------------|
/// | `fn`                                  | on a bounded pool of blocking threads          |
/// | `fn` with `inline`                    | where it arrives; it must take microseconds    |
/// | `async fn`                            | as a task                                      |
/// | `stream` that returns `impl Iterator` | on a separate thread, item by item             |
/// | `stream` that returns `impl Stream`   | as a task                                      |
///
/// A stream may also be `Box<dyn Iterator<Item = T> + Send>`,
/// `Pin<Box<dyn Stream<Item = T> + Send>>` or `BoxStream<'static, T>`. It may be inside a `Result`:
/// its set-up can then fail.
///
/// A type whose name ends in `Result` counts as a `Result`, aliases such as `io::Result<T>`
/// included: its error reaches the caller as `CallError::Function`. Every other type is a plain
/// value.
///
/// # Declarations
/// A function without a body is a declaration: a stub with `call` and `map`, but without a handler,
/// so that a node cannot offer it. Clients and nodes can share a crate of declarations and types.
/// Clients then compile no dependency of the implementation:
///
/// ```text
/// // In the crate `api`.
/// #[remote(timeout = "30s")]
/// pub async fn embed(text: String) -> Vec<f32>;
///
/// // On the node.
/// #[remote(implements = api::embed, needs = "gpu")]
/// fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
/// ```
///
/// An implementation has the declaration's name on the wire, names of arguments, documentation,
/// `timeout`, `idempotent`, `resumable`, `skew` and `tool`. If its arguments, result, error or items
/// have other types, it does not compile. It may be sync where the declaration is `async`, and return an
/// iterator where the declaration returns a stream, or the other way round.
///
/// # Parameters
/// Parameters may have any order. `call` takes those that the caller supplies, in the same order.
///
/// | parameter | where its value comes from |
/// |---|---|
/// | `name: T`, up to 16 | the caller: an argument, sent before the function runs |
/// | `name: impl Stream<Item = T>`, one | the caller: a client stream, sent while it runs |
/// | `#[state] name: &T` | the node's state of type `T`; not in the remote signature |
/// | `#[ctx] name: &Context`, one | the call's context; not in the remote signature |
/// | `#[resume] name: u64`, one | the node: the items of a stream that need not come again; not in the remote signature |
///
/// A function with a client stream is an `async fn`, or returns an `impl Stream`, because it has to
/// await the items. Inside the function the stream is a type of the library; `call` accepts any
/// stream that is `Send + 'static`.
///
/// A node keeps one state per type, which is `Send + Sync`:
///
/// - put what changes into a `Mutex`;
/// - for two states of one type, wrap them in newtypes;
/// - a node without a state that one of its functions takes does not start.
///
/// A returned stream may borrow from state and context; in edition 2021 write
/// `impl Stream<Item = T> + '_`.
///
/// # Options
/// | option              | meaning                                                                |
/// |---------------------|------------------------------------------------------------------------|
/// | `stream`            | the function returns a stream, not one value                           |
/// | `inline`            | run a plain `fn` where its call arrives; see [below](#inline)          |
/// | `name = "math.add"` | the name on the wire. Default: the name of the function                |
/// | `stub = Add`        | the name of the stub, if a type or module has the function's name      |
/// | `timeout = "30s"`   | default timeout of a call: `"250ms"`, `"30s"`, `"5m"`, `"1h"`          |
/// | `plain`             | the result (or item) is a plain value, although it is named `..Result` |
/// | `idempotent`        | running it twice is harmless: calls that may have run are retried      |
/// | `detached`          | once started, it runs to its end even if its caller is gone            |
/// | `concurrency = 8`   | at most 8 calls run at a time on one node; others wait at the gateway  |
/// | `batch(max = 32, wait = "5ms")` | calls that come together run together; see [below](#batches) |
/// | `operator`          | it is applied to the items of streams; see [below](#operators)         |
/// | `tool`              | agents may call it: see [below](#tools)                                |
/// | `needs = "gpu, eu"` | requires nodes with all these tags                                     |
/// | `replay = "1MiB"`   | how much of a resumable stream its node keeps; 1 MiB is the default    |
/// | `resumable`         | the stream that the caller sends survives a lost connection            |
/// | `skew = "by-name"`  | callers and nodes may have different types; see [below](#versions)     |
/// | `err = "display"`   | its errors travel as text; they implement `Display`                    |
/// | `implements = path` | the declaration that this implements                                   |
/// | `crate = path`      | the path of `easyremote`, if it was renamed                            |
/// | `skip`              | leaves out a method of a block or trait                                |
///
/// # Inline
/// An `inline` function runs in the task that reads the node's connection, inside the runtime of the
/// program, and saves the way to another thread and back. While it runs, the connection stands
/// still: it must take microseconds and never block.
///
/// The node measures each run. It runs the function on a blocking thread, like a plain `fn`, until
/// it has been short 8 times in a row, and again, with a warning in the log, once a run takes 1 ms
/// or the average of its runs 100 us: until it has been short for 10 s, and 8 more times. Inside
/// middleware, for calls on separate streams, and after 1 ms of other `inline` functions in a row,
/// it runs on an async thread.
///
/// # Batches
/// A function with `batch` takes and returns lists. Its callers pass and get one element:
///
/// ```text
/// #[remote(batch(max = 32, wait = "5ms"), concurrency = 1)]
/// fn embed(#[state] model: &Model, texts: Vec<String>) -> Vec<Vec<f32>> { .. }
///
/// // On a client:
/// let vector: Vec<f32> = embed::call(&client, "a text".into()).await?;
/// ```
///
/// The node runs callers that come together in one call of the function. A batch leaves when it is
/// full, when its first caller has waited for `wait`, or when a caller's deadline leaves no more
/// time. While `concurrency` runs are under way, the next batch collects.
///
/// | in `batch(..)`     | meaning                                                    | default |
/// |--------------------|------------------------------------------------------------|---------|
/// | `max = 32`         | the most elements of a run                                 | 32      |
/// | `wait = "5ms"`     | how long the first one waits: `"500us"`, `"5ms"`, `"1s"`   | 5 ms    |
/// | `weigh = path`     | `fn(&T) -> usize` or `u32`: `max` is a sum of weights then | 1 each  |
///
/// With `wait = "0ms"` a batch collects only while another one runs. An element weighs at least 1;
/// one that is heavier than `max` runs alone. `weigh` takes a reference to each argument.
///
/// | the function takes and returns             | a caller passes and gets           |
/// |--------------------------------------------|------------------------------------|
/// | `(Vec<A>)` and `Vec<T>`                    | `A` and `T`                        |
/// | `(Vec<A>, Vec<B>)`, lists of one length    | `A` and `B`                        |
/// | `Vec<Result<T, E>>`                        | `Result<T, E>`                     |
/// | `Result<Vec<T>, E>`: one error for all     | `Result<T, E>`                     |
/// | `#[ctx] callers: &[Context]`               | nothing: one context per element   |
///
/// The function returns one result per element, in their order. Any other number is an error of kind
/// `Failed` for all callers of the run. A panic is one of all of them, too. All else concerns a
/// caller alone: arguments that cannot be decoded, a result that is too long, a deadline. A caller
/// that leaves before its run is not part of it; one that leaves later has its result dropped, and
/// an async function is dropped when its last caller has left.
///
/// What is on the wire is the function of one element. A declaration is written for one element, and
/// may be implemented with and without `batch`. A batch function is not `stream`, `inline` or
/// `detached`.
///
/// # Operators
/// A function with `operator` is not called. A caller applies it to the items of a stream, and it runs
/// at the node that has the stream:
///
/// ```text
/// #[remote(operator)]
/// fn hot(reading: Reading, limit: f64) -> Option<Celsius> { .. }
///
/// // On a client:
/// let hot: StreamCall<readings, Celsius> = readings::call(&client).through(hot::with(30.0));
/// ```
///
/// | the function                                  | what it does with an item              |
/// |-----------------------------------------------|----------------------------------------|
/// | `fn(item: T, ..) -> Option<U>`                | makes a `U` of it, or leaves it out    |
/// | `fn(item: T, ..) -> U`, any other type        | makes a `U` of it                      |
/// | `fn(item: &T, ..) -> bool`                    | passes it unchanged, or leaves it out  |
///
/// The first parameter that is not `#[state]` or `#[ctx]` is the item. The stub's `with` takes the
/// further ones, which are `Clone`: the function gets a copy for each item. With `plain`, an `Option` or
/// a `Result` that it returns is an item. Only the `Option` itself is recognized, not an alias of it.
///
/// It is a plain `fn` without an error of its own, as quick as an `inline` function. Options of calls do
/// not apply to it; `name`, `stub`, `plain`, `implements` and `crate` do.
///
/// # Tools
/// A function with `tool` is offered to agents, programs in which a language model decides what to call,
/// over the Model Context Protocol:
///
/// ```text
/// /// Finds papers about a topic, the newest first.
/// #[remote(tool, idempotent)]
/// async fn papers(
///     /// In a few words.
///     topic: String,
///     /// At most 50.
///     limit: u32,
/// ) -> Result<Vec<Paper>, SearchError> { .. }
/// ```
///
/// The doc comments tell the agent when to call it and what to send, so that the function must have
/// one, and parameters should. Its name consists of the characters `A-Z a-z 0-9 _ . -`. A tool may be a
/// stream, a method or a batch function. It takes no client stream, and is not an operator.
///
/// # Methods of a type
/// The attribute on an `impl` block, which is not changed:
///
/// ```text
/// #[remote]
/// impl Model {
///     pub async fn embed(&self, text: String) -> Vec<f32> { .. }
///     #[remote(stream)]
///     pub fn tokens(&self, prompt: String) -> impl Stream<Item = String> { .. }
///     #[remote(skip)]
///     pub fn rename(&mut self, name: &str) { .. }
///     pub fn new() -> Self { .. }
/// }
///
/// // On a node:
/// Node::builder(gateway).functions(functions![Model]).state(model).serve()
/// Node::builder(gateway).functions(functions![Model]).instance("small", a).instance("large", b).serve()
///
/// // On a client:
/// Model::remote(&client).embed(text).await?
/// Model::remote(&client).instance("small").tokens(prompt)
/// ```
///
/// Every function with `&self` is remote. `#[remote(..)]` on it sets its options, and
/// `#[remote(skip)]` leaves it out. Functions without `self`, constants and types are ignored.
/// `&self` is a value that the node keeps and all calls share: its type is `Send + Sync`, and what
/// changes is in a `Mutex`. A stream may borrow from it. `Self` in a signature is the type.
///
/// The attribute generates
///
/// - the handle `ModelClient`, with one method per remote method, as visible as the most visible of
///   them;
/// - `Model::remote(&client)`, which returns a handle;
/// - a stub `Model_embed` per method, as visible as the method, for types such as
///   `Call<Model_embed>`.
///
/// On the wire the method is called `Model.embed`, and on an instance `Model:small.embed`. Options
/// of the block are `name`, which replaces `Model` in these names, `stub`, which names the handle,
/// and `crate`. A type has at most one such block. The block is not generic, but its type may be an
/// instance of a generic type: `impl Model<f32>`.
///
/// # Methods of a trait
/// The attribute on a trait that nodes implement and clients call:
///
/// ```text
/// #[remote]
/// pub trait Embedder {
///     async fn embed(&self, text: String) -> Vec<f32>;
///     #[remote(stream)]
///     fn tokens(&self, prompt: String) -> impl Stream<Item = String>;
/// }
///
/// // On a node, where `Model: Embedder`:
/// Node::builder(gateway).functions(functions![EmbedderServer<Model>]).state(model).serve()
///
/// // On a client:
/// EmbedderClient::new(&client).embed(text).await?
/// ```
///
/// All methods are remote, except those with `#[remote(skip)]`. They may have bodies. Because a
/// node runs them on any thread, the attribute changes the trait:
///
/// | written                 | becomes                                    |
/// |-------------------------|--------------------------------------------|
/// | `trait Embedder`        | `trait Embedder: Send + Sync + 'static`    |
/// | `async fn f() -> T`     | `fn f() -> impl Future<Output = T> + Send` |
/// | `impl Stream<Item = T>` | `impl Stream<Item = T> + Send`             |
///
/// An implementation writes the methods as they are written in the trait.
///
/// The attribute generates the handle `EmbedderClient`, the list `EmbedderServer<T>`, and the stubs
/// `Embedder_embed`, all as visible as the trait. Clients do not know the implementing type, so the
/// trait has no parameters, associated types or constants, and no `Self` in its signatures. Names
/// on the wire, instances and options are those of a type's methods.
///
/// # Options in detail
/// If a function has a declaration, `inline`, `detached`, `concurrency`, `needs`, `batch` and `replay`
/// are set at the function with the body, and `name`, `timeout`, `idempotent`, `resumable`, `skew` and
/// `tool` at the declaration. `stream`, `plain` and `err` are set at both, because they decide how the
/// signature is read.
///
/// **`stub`** is for a function next to a module or a type of its name, where the compiler reports
/// "the name `add` is defined multiple times" (E0428). With `#[remote(stub = Add)]` the stub is
/// called `Add`, and the function keeps its name.
///
/// **Lints.** `#[allow(..)]`, `#[expect(..)]`, `#[warn(..)]` and `#[deny(..)]` on the item apply to
/// the generated code as well. A public function may have private types, as in plain Rust, where
/// the compiler warns about it (`private_interfaces`); its stub can be named where they can.
///
/// **`detached`** is for functions with one result and without a client stream. Neither a dropped
/// call nor a deadline cancels the function, and `Context::is_cancelled` stays `false`; its result
/// is then dropped. It holds its permit of the node until it ends. A call that still waits for a
/// permit has not started, and is cancelled like any other. A node that shuts down does not wait
/// for it.
///
/// **`concurrency`** is a limit in addition to that of the node. Calls wait for it at the gateway;
/// if several gateways send calls to one node, some wait at the node. They take no permit and no
/// thread of the node, so that they do not hold up other functions. Their deadlines apply. For a batch function it limits the
/// runs; their callers count against the node's limit.
///
/// **`needs`** takes up to 64 tags of 128 bytes, which nodes set with `NodeBuilder::tag`. A node
/// without one of them may list the function, and logs a warning; `Node::set_tags` can add and
/// remove tags later. If no node has all tags, calls fail with `NoNode`; the text names the nodes
/// and the tags that they lack.
///
/// **`replay`** is a size such as `"64KiB"`, `"1MiB"` or `"1GiB"`. The node keeps what the reader of a
/// resumable stream has not taken, and pauses the function when it is that much.
///
/// **`#[resume]`** lets a resumable stream survive its node. The function is `idempotent` and takes
/// no client stream. The parameter is 0 at first; after a loss the function is called again, on any
/// node, with the number of its items that the reader has, and returns those behind them. A
/// declaration has the parameter too, so that callers know.
///
/// **`resumable`** is for functions with one result that take a client stream. A call survives the
/// loss of its connection or gateway: the caller goes on behind the last item that has arrived, and
/// the function reads on from the same stream, without noticing: each item comes once, in order. Its
/// node keeps a call whose caller is lost for 30 s, and the result until the caller has it. A lost
/// node ends the call with `Gap`, because only the function knows what it has stored by then. A
/// function that is to go on from there takes the offset as an argument, and offers another one that
/// returns it.
///
/// **`err = "display"`** is for errors that are `Display + Send + 'static`, such as `anyhow::Error`
/// or `Box<dyn Error + Send + Sync>`; of a stream, for those of its set-up and of its items. The
/// caller gets an `easyremote::Error` of kind `Failed` instead of a `CallError`. Its text is that
/// of `{:#}`, followed by all sources that are not in it, each once and after a colon, cut after
/// 8,000 bytes. A failed set-up ends its stream, a failed item does not. A call by name gets the
/// same error, as `CallError::Remote`.
///
/// # Versions
/// If no node has the caller's types, a call fails with `SignatureMismatch`, and nothing has run. With
/// `skew = "by-name"` the caller then makes the call again by name: arguments, fields and variants are
/// found by their names, so that reordered fields, aliases, and fields that are an `Option` or have a
/// default may differ. What one side does not know is `BadArguments` or `BadResponse`, except a `None`.
/// With `skew = "lossy"` fields that one side does not know are left out, and counted in
/// `Client::stats` and `Node::stats`.
///
/// The caller's declaration counts; a node answers all calls by name. A function with a client stream is
/// always called by name. A stream with `through` is not called by name, and an operator has no `skew`.
///
/// # Errors
/// All mistakes in an item are reported at once, each at the place to change. The function itself
/// is kept, so that no further errors follow from its absence.
#[proc_macro_attribute]
pub fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::remote(options.into(), item.into()).into()
}
