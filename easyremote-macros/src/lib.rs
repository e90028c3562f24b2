//! The `#[remote]` attribute of [`easyremote`](https://docs.rs/easyremote).
//!
//! Use it through that crate, which re-exports it. A function, a block of methods or a trait is read
//! in four steps, each a module: the options in parentheses (`args`), the item itself (`model`),
//! everything that is wrong with it (`check`), and the code that is put next to it (`expand`).
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

/// Makes a function callable from other machines; or all methods of a type, or of a trait.
///
/// The function stays what it was. Next to it comes its *stub*, an empty struct of the same name
/// and visibility: `add(1, 2)` runs here, `add::call(&client, 1, 2)` runs on a node, and
/// `functions![add]` lists it for a node that offers it.
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
/// A free function, neither generic nor `unsafe`; for methods see [below](#methods-of-a-type). What it
/// takes and gives is owned, and serde can take it apart and put it together.
///
/// | function                            | on the node it runs                              |
/// |-------------------------------------|--------------------------------------------------|
/// | `fn`                                | on a bounded pool of blocking threads            |
/// | `fn` with `inline`                  | on the async thread: for what takes microseconds |
/// | `async fn`                          | as a task                                        |
/// | `stream`, giving `impl Iterator`    | on a thread of its own, item by item             |
/// | `stream`, giving `impl Stream`      | as a task                                        |
///
/// A stream may also be `Box<dyn Iterator<Item = T> + Send>`, `Pin<Box<dyn Stream<Item = T> + Send>>`
/// or `BoxStream<'static, T>`, and it may be inside a `Result`: setting it up can then fail.
///
/// A type whose name ends in `Result` is one, aliases such as `io::Result<T>` included: its error
/// reaches the caller as `CallError::Function`. Every other type is a plain value.
///
/// # Declarations
/// A function without a body is a declaration. It generates the stub with `call`, and no handler, so a
/// node cannot offer it. Clients and nodes can share a crate of declarations and types. The clients
/// then compile none of the dependencies of the implementation:
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
/// `timeout` and `idempotent`. One whose arguments, result, error or items are of other types does
/// not compile. It may be sync where the declaration is `async`, give an iterator where that gives a
/// stream, and the other way round.
///
/// # Parameters
/// They may stand in any order. `call` takes those that the caller has, in the order of the function.
///
/// | parameter                          | where its value comes from                              |
/// |------------------------------------|---------------------------------------------------------|
/// | `name: T`, up to 16                | the caller: an argument, sent before the function runs  |
/// | `name: impl Stream<Item = T>`, one | the caller: a client stream, sent while it runs         |
/// | `#[state] name: &T`                | the node, which keeps a `T`; not in the remote signature |
/// | `#[ctx] name: &Context`, one       | the node: the context of the call; not in the remote signature |
///
/// A function with a client stream is an `async fn`, or gives an `impl Stream`: nothing else can
/// await it. The stream is of a type of the library's own; `call` accepts any that is `Send` and
/// `'static`.
///
/// State is kept by its type, which is `Send + Sync`: what changes is in a `Mutex`, and two states
/// of one type are two new types. A node that lacks a state that one of its functions needs does
/// not start. What the function gives as a stream may borrow from state and context; in edition
/// 2021, `impl Stream<Item = T> + '_` says so.
///
/// # Options
/// | option               | meaning                                                               |
/// |----------------------|-----------------------------------------------------------------------|
/// | `stream`             | the function gives a stream, not one value                            |
/// | `inline`             | run a plain `fn` on the async thread instead of the blocking pool     |
/// | `name = "math.add"`  | the name on the wire; otherwise the function's own                    |
/// | `stub = Add`         | the name of the stub, where a type or module of that name exists      |
/// | `timeout = "30s"`    | how long a call may take by default: `"250ms"`, `"30s"`, `"5m"`, `"1h"` |
/// | `plain`              | the returned type (of a stream: its items) is called `..Result` but is a plain value |
/// | `idempotent`         | running it twice is as good as once: a call that may have run can be made again |
/// | `detached`           | once it has started, it runs on when its caller is gone               |
/// | `concurrency = 8`    | at most so many calls of it run at a time on one node; others wait    |
/// | `needs = "gpu, eu"`  | only nodes with all these tags get its calls                          |
/// | `err = "display"`    | its errors travel as text, so they need `Display` and not serde       |
/// | `implements = path`  | the declaration that this implements                                  |
/// | `crate = path`       | where `easyremote` is, if it was renamed                              |
/// | `skip`               | leaves a method of a block or trait out                               |
///
/// # Methods of a type
/// On an `impl` block, which stays what it was:
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
/// Every function with `&self` is remote, and `#[remote(..)]` on it gives its options;
/// `#[remote(skip)]` leaves it out. Functions without `self`, constants and types are left alone.
/// `&self` is a value that the node keeps, and all calls share it: its type is `Send + Sync`, and
/// what changes is in a `Mutex`. A stream may borrow from it. `Self` in a signature is the type.
///
/// Added are the handle `ModelClient`, with a method for each remote one, `Model::remote(&client)`,
/// which makes one, and a stub `Model_embed` for each method, so that the type `Call<Model_embed>`
/// can be written. A stub is as visible as its method, the handle as the most visible of them.
///
/// On the wire the method is called `Model.embed`, and on an instance `Model:small.embed`. Options
/// of the block are `name`, which replaces `Model` there, `stub`, which names the handle, and
/// `crate`. A type has one such block; it is not generic, but may be that of one generic type:
/// `impl Model<f32>`.
///
/// # Methods of a trait
/// On a trait, for what nodes implement and clients call:
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
/// All methods are remote but those with `#[remote(skip)]`, and they may have bodies. The trait
/// becomes one of what is `Send + Sync + 'static`, and in its methods `async fn f() -> T` becomes
/// `fn f() -> impl Future<Output = T> + Send`, and `impl Stream<Item = T>` becomes
/// `impl Stream<Item = T> + Send`: a node runs them on any thread. An implementation writes them as
/// they stand in the trait.
///
/// Added are the handle `EmbedderClient`, the list `EmbedderServer<T>`, and the stubs
/// `Embedder_embed`, all as visible as the trait. Nobody but the node knows what implements the
/// trait, so it has no parameters, types or constants, and no `Self` in its signatures. Names on the
/// wire, instances and options are those of a type's methods.
///
/// `inline`, `detached`, `concurrency` and `needs` belong to the function with the body; `name`,
/// `timeout` and `idempotent` to its declaration, if it has one. `stream`, `plain` and `err` say how
/// a signature is read, and are written at both.
///
/// **`stub`** is for a function next to a module or a type of its name, where the compiler finds "the
/// name `add` defined multiple times" (E0428): `#[remote(stub = Add)]` calls the stub `Add`, and the
/// function keeps its name.
///
/// **Lints.** `#[allow(..)]`, `#[expect(..)]`, `#[warn(..)]` and `#[deny(..)]` on the item hold for what
/// is generated from it as well. A public function may have private types, as in plain Rust, where the
/// compiler warns of it (`private_interfaces`); its stub can be named where they can.
///
/// **`detached`** is for functions with one result. Neither a dropped call nor a deadline ends the
/// function, and `Context::is_cancelled` stays `false`; what it gives is then dropped. It keeps its
/// place among the calls of its node until it ends. A call that still waits for a place has not
/// started, and is cancelled like any other. A node that shuts down does not wait for it.
///
/// **`concurrency`** adds to the limit of the node. Calls that wait for it take no place and no
/// thread of the node, so that they hold no other function up, and keep their deadline.
///
/// **`needs`** takes up to 64 tags of 128 bytes, as `NodeBuilder::tag` gives them. A node that lacks
/// one may list the function all the same, and logs a warning; `Node::set_tags` can give it the tag
/// later, or take it away. A call for which there is no node
/// fails with `NoNode`, which says which node lacks what.
///
/// **`err = "display"`** is for errors that are `Display + Send + 'static`, such as `anyhow::Error` or
/// `Box<dyn Error + Send + Sync>`; of a stream, for those of its set-up and of its items. The caller
/// gets `easyremote::Error` of kind `Failed` in place of `CallError`, with the text of `{:#}` and of all
/// sources that are not in it, each once and after a colon, cut after 8,000 bytes. An item that fails does not
/// end its stream. A call by name gets the same, as `CallError::Remote`.
///
/// # Errors
/// Everything that is wrong with a function is reported at once, at the place to change, and the
/// function itself is kept, so that no further errors follow from its absence.
#[proc_macro_attribute]
pub fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::remote(options.into(), item.into()).into()
}
