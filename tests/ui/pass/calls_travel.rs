//! A call owns what it needs: it can be spawned, stored and joined, and outlives the client handle.
#![deny(warnings)]

use std::future::Future;

use easyremote::{Call, Client, Error, StreamCall, remote};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};

#[remote]
async fn square(n: u64) -> u64 {
    n * n
}

#[remote(stream)]
fn count(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

struct Pending {
    one: Call<square>,
    many: Vec<StreamCall<count>>,
}

fn future(_: impl Future<Output = Result<u64, Error>> + Send + Unpin + 'static) {}

fn items(_: impl Stream<Item = Result<u64, Error>> + Send + Unpin + 'static) {}

async fn callers(client: Client) -> Result<u64, Error> {
    future(square::call(&client, 1));
    items(count::call(&client, 1));
    let pending = Pending { one: square::call(&client, 2), many: vec![count::call(&client, 3)] };
    let spawned = tokio::spawn(square::call(&client, 3));
    let all = join_all((0..4).map(|n| square::call(&client, n)));
    let calls: Vec<_> = (0..4).map(|n| square::call(&client, n)).collect();
    let mut some = stream::iter(calls).buffer_unordered(2);
    let function: fn(&Client, u64) -> Call<square> = square::call;
    let called_through_it = function(&client, 5);
    drop((client, pending.many));
    let mut sum = pending.one.await? + called_through_it.await?;
    sum += spawned.await.map_or(Ok(0), |squared| squared)?;
    for squared in all.await {
        sum += squared?;
    }
    while let Some(squared) = some.next().await {
        sum += squared?;
    }
    Ok(sum)
}

fn main() {
    fn is_send<F: Future + Send>(_: fn(Client) -> F) {}
    is_send(callers);
}
