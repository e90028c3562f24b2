//! Batch functions as methods, as implementations of declarations, inside middleware.

use std::sync::atomic::{AtomicU64, Ordering};

use common::gate::OPEN;
use common::{World, soon};
use easyremote::node::{Done, Next};
use easyremote::{Context, Error, functions, remote};
use futures::future::join_all;

use super::{Stage, pair};

mod api {
    use easyremote::remote;

    /// Measures a text.
    #[remote(timeout = "30s", idempotent)]
    pub async fn measure(text: String, unit: u8) -> Result<u64, String>;
}

mod batched {
    use super::*;

    #[remote(implements = api::measure, batch(max = 2, wait = "3600s"))]
    pub(super) fn measure(texts: Vec<String>, units: Vec<u8>) -> Vec<Result<u64, String>> {
        let each = texts.iter().zip(units);
        each.map(|(text, unit)| super::length(text, unit)).collect()
    }
}

mod single {
    use super::*;

    #[remote(implements = api::measure)]
    pub(super) fn measure(text: String, unit: u8) -> Result<u64, String> {
        super::length(&text, unit)
    }
}

fn length(text: &str, unit: u8) -> Result<u64, String> {
    (text.len() as u64).checked_div(unit.into()).ok_or_else(|| "no unit".into())
}

struct Scale(u64);

#[remote]
impl Scale {
    #[remote(batch(max = 2, wait = "3600s"))]
    async fn by(&self, #[ctx] callers: &[Context], numbers: Vec<u64>) -> Vec<(u64, String)> {
        tokio::task::yield_now().await;
        let each = numbers.iter().zip(callers);
        each.map(|(n, ctx)| (n * self.0, ctx.instance().unwrap_or_default().to_owned())).collect()
    }
}

#[remote]
trait Adder {
    #[remote(batch(max = 2, wait = "3600s"))]
    async fn add(&self, left: Vec<u64>, right: Vec<u64>) -> Vec<u64>;
}

impl Adder for Scale {
    async fn add(&self, left: Vec<u64>, right: Vec<u64>) -> Vec<u64> {
        left.iter().zip(right).map(|(l, r)| self.0 * (l + r)).collect()
    }
}

/// Returns what each of its callers has in its metadata.
#[remote(batch(max = 2, wait = "3600s"))]
fn names(#[ctx] callers: &[Context], numbers: Vec<u64>) -> Vec<(u64, Option<String>)> {
    let name = |caller: &Context| caller.metadata("name").map(str::to_owned);
    numbers.into_iter().zip(callers.iter().map(name)).collect()
}

#[tokio::test]
async fn a_declaration_may_be_implemented_by_either() {
    let world = World::start().await;
    let nodes = [
        world.node_builder().id("batched").functions(functions![batched::measure]),
        world.node_builder().id("single").functions(functions![single::measure]),
    ];
    let nodes = nodes.map(|node| node.serve());
    let _nodes: Vec<_> = soon(join_all(nodes)).await.into_iter().map(Result::unwrap).collect();
    let client = world.client().await;
    let offered = soon(client.nodes()).await.unwrap();
    let functions: Vec<_> = offered.iter().map(|node| format!("{:?}", node.functions)).collect();
    assert_eq!(functions[0], functions[1]);
    for id in ["batched", "single"] {
        let call = |text: &str, unit| api::measure::call(&client, text.into(), unit).on(id);
        let results = soon(join_all([call("four", 2), call("", 0)])).await;
        let [Ok(two), Err(error)] = &results[..] else { panic!("{results:?}") };
        assert_eq!((*two, error.function().map(String::as_str)), (2, Some("no unit")));
    }
    // Through the stub of the implementation too.
    let calls = ["ab", "abc"].map(|text| batched::measure::call(&client, text.into(), 1));
    let results = soon(join_all(calls.map(|call| call.on("batched")))).await;
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn methods_and_traits_take_batches_and_instances_do_not_share_them() {
    let functions = functions![Scale, AdderServer<Scale>];
    let stage = Stage::with(|node| {
        node.functions(functions)
            .state(Scale(10))
            .instance("two", Scale(2))
            .instance("three", Scale(3))
    })
    .await;
    let (scale, adder) = (Scale::remote(&stage.client), AdderClient::new(&stage.client));
    let (two, three) = (scale.instance("two"), scale.instance("three"));
    // If instances shared batches, the first two would leave together.
    let calls = [two.by(1), three.by(1), scale.by(1), two.by(2), three.by(2), scale.by(2)];
    let results = soon(join_all(calls)).await;
    let of = |n, name: &str| (n, name.to_owned());
    let expected =
        [of(2, "two"), of(3, "three"), of(10, ""), of(4, "two"), of(6, "three"), of(20, "")];
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    let sums = soon(join_all([adder.add(1, 2), adder.add(3, 4)])).await;
    assert_eq!(sums.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [30, 70]);
}

#[tokio::test]
async fn contexts_are_in_the_order_of_the_elements() {
    let stage = Stage::new(functions![names]).await;
    let call = |n: u64| names::call(&stage.client, n).metadata("name", n.to_string());
    for n in 0..20 {
        let results = soon(join_all([call(n), call(100 + n)])).await;
        let expected = [n, 100 + n].map(|n| (n, Some(n.to_string())));
        assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn middleware_wraps_each_call_of_a_batch() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    async fn count(ctx: Context, next: Next) -> Result<Done, Error> {
        if ctx.metadata("refuse").is_some() {
            return Err(Error::new(easyremote::ErrorKind::PermissionDenied, "not you"));
        }
        let done = next.run(ctx).await?;
        SEEN.fetch_add(done.bytes(), Ordering::Relaxed);
        Ok(done)
    }
    let stage = Stage::with(|node| node.functions(functions![pair]).wrap(count)).await;
    let call = |n| pair::call(&stage.client, n, OPEN);
    let refused = soon(call(0).metadata("refuse", "")).await.unwrap_err();
    assert_eq!(refused.kind(), easyremote::ErrorKind::PermissionDenied);
    let results = soon(join_all([call(1), call(2)])).await;
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 4]);
    common::until(|| SEEN.load(Ordering::Relaxed) == 2).await;
    assert_eq!(stage.runs.sizes(), [2]);
}

/// A job waits for its run like a call, but without its caller.
#[tokio::test]
async fn a_job_shares_its_run_with_calls() {
    let stage = Stage::new(functions![pair]).await;
    let job = soon(pair::call(&stage.client, 1, OPEN).spawn()).await.unwrap();
    let id = job.id().clone();
    stage.waits(1).await;
    drop(job);
    assert_eq!(soon(pair::call(&stage.client, 2, OPEN)).await.unwrap(), 4);
    assert_eq!(soon(stage.client.job::<pair>(&id).result()).await.unwrap(), 2);
    assert_eq!(stage.runs.sizes(), [2]);
}
