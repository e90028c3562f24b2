//! easyremote, through its gateway; as it is, and with the I/O of client and node on a thread of
//! its own.

use bytes::Bytes;
use easyremote::auth::DialOptions;
use easyremote::client::Io;
use easyremote::{Client, Gateway, Node, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::rival::{Caller, Function, Place, Rival, Running, Shape, Wanted};

pub struct Easyremote<const ON_THREAD: bool>;

#[remote]
async fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[remote]
fn echo_sync(bytes: Bytes) -> Bytes {
    bytes
}

#[remote(inline)]
fn echo_inline(bytes: Bytes) -> Bytes {
    bytes
}

#[remote(stream)]
fn items(n: u64, length: u64, stays: bool) -> impl Stream<Item = Bytes> {
    let item = Bytes::from(vec![7; length as usize]);
    let rest = if stays { stream::pending().boxed() } else { stream::empty().boxed() };
    stream::iter(0..n).map(move |_| item.clone()).chain(rest)
}

impl<const ON_THREAD: bool> Rival for Easyremote<ON_THREAD> {
    type Caller = Client;

    const SHAPE: Shape = Shape::Broker;

    async fn middle(place: Place) -> anyhow::Result<Running> {
        let gateway = Gateway::builder("127.0.0.1:0").state_dir(place.directory).serve().await?;
        Ok(Running::new(gateway.local_addr(), gateway))
    }

    async fn node(place: Place) -> anyhow::Result<Running> {
        let target = place.target();
        let builder = Node::builder(target)
            .dial(DialOptions::new().state_dir(place.directory))
            .io(io::<ON_THREAD>());
        let node =
            builder.functions(functions![echo, echo_sync, echo_inline, items]).serve().await?;
        Ok(Running::new(target, node))
    }

    async fn connect(place: Place) -> anyhow::Result<Client> {
        Ok(Client::builder(place.target())
            .dial(DialOptions::new().state_dir(place.directory))
            .io(io::<ON_THREAD>())
            .connect()
            .await?)
    }
}

const fn io<const ON_THREAD: bool>() -> Io {
    if ON_THREAD { Io::Thread } else { Io::Auto }
}

impl Caller for Client {
    const STREAMS: bool = true;

    async fn echo(&self, bytes: Bytes) -> anyhow::Result<Bytes> {
        Ok(echo::call(self, bytes).await?)
    }

    const FUNCTIONS: bool = true;

    async fn echo_by(&self, function: Function, bytes: Bytes) -> anyhow::Result<Bytes> {
        Ok(match function {
            Function::Async => echo::call(self, bytes).await?,
            Function::Sync => echo_sync::call(self, bytes).await?,
            Function::Inline => echo_inline::call(self, bytes).await?,
        })
    }

    fn items(&self, wanted: Wanted) -> impl Stream<Item = anyhow::Result<Bytes>> + Send + 'static {
        items::call(self, wanted.n, wanted.length, wanted.stays).map_err(anyhow::Error::from)
    }
}
