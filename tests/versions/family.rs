//! A family of versions: each has functions of all kinds around one type `Item`.

use common::{World, soon};
use easyremote::node::NodeBuilder;
use easyremote::{Client, Error, Node};
use futures::future::BoxFuture;

/// How a call has ended: the values that came back as JSON, or the error.
pub(crate) type Seen = Result<Vec<serde_json::Value>, Error>;

/// The calls of one version, by kind of function.
pub(crate) type Calls = Vec<(&'static str, BoxFuture<'static, Seen>)>;

/// Defines a version of the functions. Each returns what it takes.
macro_rules! version {
    ($name:ident [$($skew:tt)*] $($types:item)*) => {
        #[allow(dead_code)]
        pub(crate) mod $name {
            use easyremote::node::NodeBuilder;
            use easyremote::{CallError, Client, remote};
            use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
            use serde::{Deserialize, Serialize};
            use serde_json::{Value, json};

            use crate::family::{Calls, Seen};

            $(#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)] $types)*

            #[remote($($skew)*)]
            async fn unary(item: Item) -> Item {
                item
            }

            #[remote(inline, idempotent, $($skew)*)]
            fn inline(item: Item) -> Vec<Item> {
                vec![item]
            }

            #[remote($($skew)*)]
            fn fails(item: Item) -> Result<u8, Item> {
                Err(item)
            }

            #[remote(stream, $($skew)*)]
            fn items(item: Item) -> impl Stream<Item = Item> {
                stream::iter(vec![item; 3])
            }

            #[remote(stream, $($skew)*)]
            fn partial(item: Item) -> impl Iterator<Item = Result<Item, Item>> {
                [Ok(item.clone()), Err(item)].into_iter()
            }

            #[remote(stream, $($skew)*)]
            async fn setup(item: Item) -> Result<impl Stream<Item = u8>, Item> {
                if true { Err(item) } else { Ok(stream::empty()) }
            }

            #[remote($($skew)*)]
            async fn upload(first: u8, items: impl Stream<Item = Item>) -> Vec<Item> {
                items.take(first.into()).collect().await
            }

            #[remote(stream, $($skew)*)]
            fn duplex(items: impl Stream<Item = Item>) -> impl Stream<Item = Item> {
                items
            }

            #[remote(batch(max = 4, wait = "1ms"), $($skew)*)]
            fn batched(items: Vec<Item>) -> Vec<Item> {
                items
            }

            pub(crate) struct Shop;

            #[remote]
            impl Shop {
                #[remote($($skew)*)]
                async fn take(&self, item: Item) -> Item {
                    item
                }
            }

            #[remote]
            pub(crate) trait Stock: Send + Sync + 'static {
                #[remote($($skew)*)]
                async fn keep(&self, item: Item) -> Item;
            }

            impl Stock for Shop {
                async fn keep(&self, item: Item) -> Item {
                    item
                }
            }

            /// Adds all functions to a node.
            pub(crate) fn node(node: NodeBuilder) -> NodeBuilder {
                let functions = easyremote::functions![
                    unary, inline, fails, items, partial, setup, upload, duplex, batched, Shop,
                    StockServer<Shop>
                ];
                node.functions(functions).state(Shop)
            }

            fn one(value: &impl Serialize) -> Vec<Value> {
                vec![serde_json::to_value(value).unwrap()]
            }

            fn failed<T>(ended: Result<T, CallError<Item>>) -> Seen {
                match ended {
                    Ok(_) => panic!("the function fails"),
                    Err(CallError::Function(item)) => Ok(one(&item)),
                    Err(CallError::Remote(error)) => Err(error),
                }
            }

            /// Calls all functions with this item.
            pub(crate) fn calls(client: &Client, item: Value) -> Calls {
                let item: Item = serde_json::from_value(item).unwrap();
                let c = client.clone();
                let next = || (c.clone(), item.clone());
                let mut calls: Calls = Vec::new();
                let (client, it) = next();
                calls.push(("unary", async move {
                    unary::call(&client, it).await.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("inline", async move {
                    inline::call(&client, it).await.map(|it| one(&it[0]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("error", async move { failed(fails::call(&client, it).await) }.boxed()));
                let (client, it) = next();
                calls.push(("stream", async move {
                    let items = items::call(&client, it).try_collect::<Vec<_>>().await?;
                    assert_eq!(items.len(), 3);
                    Ok(one(&items[2]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("batches of a stream", async move {
                    let wait = std::time::Duration::from_secs(10);
                    let lists = items::call(&client, it).batches(2, wait);
                    let lists = lists.try_collect::<Vec<_>>().await?;
                    assert_eq!((lists.len(), lists[0].len()), (2, 2));
                    Ok(one(&lists[1][0]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("resumable stream", async move {
                    let items = items::call(&client, it).resumable();
                    let items = items.try_collect::<Vec<_>>().await?;
                    Ok(one(&items[2]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("items that fail", async move {
                    let mut items = Box::pin(partial::call(&client, it));
                    let first = match items.next().await.unwrap() {
                        Ok(first) => first,
                        Err(CallError::Remote(error)) => return Err(error),
                        Err(other) => panic!("{other:?}"),
                    };
                    let second = failed(items.next().await.unwrap())?;
                    assert_eq!(second, one(&first));
                    Ok(second)
                }.boxed()));
                let (client, it) = next();
                calls.push(("set-up", async move {
                    failed(setup::call(&client, it).open().await.map(drop))
                }.boxed()));
                let (client, it) = next();
                calls.push(("client stream", async move {
                    let sent = stream::iter(vec![it; 2]);
                    upload::call(&client, 2, sent).await.map(|items| one(&items[1]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("both ways", async move {
                    let items = duplex::call(&client, stream::iter(vec![it; 2]));
                    let items = items.try_collect::<Vec<_>>().await?;
                    Ok(one(&items[1]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("batch", async move {
                    batched::call(&client, it).await.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("method", async move {
                    Shop::remote(&client).take(it).await.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("method of a trait", async move {
                    StockClient::new(&client).keep(it).await.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("job", async move {
                    let job = unary::call(&client, it).spawn().await?;
                    let found: easyremote::client::Job<unary> = client.job(job.id());
                    found.result().await.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("key", async move {
                    let key = json!([stringify!($name), it]).to_string();
                    let first = unary::call(&client, it.clone()).key(&*key).await?;
                    let second = unary::call(&client, it).key(&*key).await?;
                    assert_eq!(first, second);
                    Ok(one(&second))
                }.boxed()));
                let (client, it) = next();
                calls.push(("hedge", async move {
                    let wait = std::time::Duration::from_secs(60);
                    inline::call(&client, it).hedge(wait).await.map(|it| one(&it[0]))
                }.boxed()));
                let (client, it) = next();
                calls.push(("all nodes", async move {
                    let mut all = Box::pin(unary::call(&client, it).on_all());
                    all.next().await.unwrap().1.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("wait for a node", async move {
                    unary::call(&client, it).wait_for_node().await.map(|it| one(&it))
                }.boxed()));
                let (client, it) = next();
                calls.push(("never retried", async move {
                    let never = easyremote::Retry::never();
                    unary::call(&client, it).retry(never).await.map(|it| one(&it))
                }.boxed()));
                calls
            }
        }
    };
}

/// Defines one version three times: without `skew`, by name, and lossy.
macro_rules! versions {
    ($($plain:ident, $by_name:ident, $lossy:ident { $($types:item)* })*) => {$(
        version!($plain [] $($types)*);
        version!($by_name [skew = "by-name"] $($types)*);
        version!($lossy [skew = "lossy"] $($types)*);
    )*};
}

/// Starts a gateway with one node that `add` adds functions to.
pub(crate) async fn served(add: fn(NodeBuilder) -> NodeBuilder) -> (World, Node, Client) {
    let world = World::start().await;
    let node = soon(add(world.node_builder()).serve()).await.unwrap();
    let client = world.client().await;
    (world, node, client)
}
