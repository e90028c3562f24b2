//! What is sent of one type, and what becomes of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use easyremote::auth::DialOptions;
use easyremote::client::FunctionSchemas;
use easyremote::node::Functions;
use easyremote::{CallError, Client, Gateway, Node};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A type, and how to try it.
pub(crate) struct Subject {
    pub(crate) name: String,
    /// As it is written in a program.
    pub(crate) shown: &'static str,
    pub(crate) check:
        for<'w> fn(&'w World) -> Pin<Box<dyn Future<Output = Result<(), Outcome>> + 'w>>,
    /// What its node says about the type.
    pub(crate) describe:
        for<'w> fn(
            &'w World,
        ) -> Pin<Box<dyn Future<Output = Result<FunctionSchemas, Outcome>> + 'w>>,
    /// The values that are sent, as far as they have JSON.
    pub(crate) values: fn() -> Vec<Value>,
    /// What serde reads from JSON, as it writes it again: alone, and in a nest.
    pub(crate) read: fn(&Value) -> Option<(Value, Value)>,
}

/// What became of the values of a type.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Each arrived as it was sent, in every role.
    Arrived,
    /// `Node::serve` has refused the functions, for this reason.
    Refused(#[allow(dead_code)] String),
    /// Some values arrived, and for the others their sender got an error that says why.
    Partly,
    /// None of these.
    Lost(#[allow(dead_code)] String),
}

/// A value in others, with something after it that a byte too few or too many would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nest<T> {
    pub(crate) option: Option<T>,
    pub(crate) map: BTreeMap<u16, Vec<T>>,
    pub(crate) choice: Choice<T>,
    pub(crate) after: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Choice<T> {
    One((T, i32)),
    Two { value: T, next: u8 },
}

impl<T: Clone> Nest<T> {
    pub(crate) fn of(value: &T) -> Self {
        Self {
            option: Some(value.clone()),
            map: BTreeMap::from([(7, vec![value.clone(), value.clone()])]),
            choice: Choice::Two { value: value.clone(), next: 9 },
            after: -1,
        }
    }
}

/// A gateway and a client of its own.
pub(crate) struct World {
    state: tempfile::TempDir,
    gateway: Gateway,
    pub(crate) client: Client,
}

impl World {
    pub(crate) async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path());
        let gateway = gateway.serve().await.unwrap();
        let client =
            Client::builder(gateway.local_addr()).dial(DialOptions::new().state_dir(state.path()));
        let client = client.connect().await.unwrap();
        Self { state, gateway, client }
    }
}

/// What becomes of `event` in good time.
pub(crate) async fn soon<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), event).await.expect("nothing happens")
}

/// A node that offers functions of one type, or why it does not.
pub(crate) async fn serve(world: &World, functions: Functions) -> Result<Node, Outcome> {
    let node = Node::builder(world.gateway.local_addr())
        .dial(DialOptions::new().state_dir(world.state.path()));
    let served = node.functions(functions).serve().await;
    served.map_err(|error| match error.to_string() {
        text if text.contains("cannot cross the network") => Outcome::Refused(text),
        text => Outcome::Lost(text),
    })
}

/// What a client is told about the function of a node.
pub(crate) async fn describe(
    world: &World,
    functions: Functions,
) -> Result<FunctionSchemas, Outcome> {
    let node = serve(world, functions).await?;
    let functions = soon(world.client.functions()).await.unwrap();
    // Those of an earlier node may still be listed.
    let own = functions.into_iter().find(|it| it.nodes.iter().any(|id| id == node.id()));
    Ok(own.expect("not listed").schemas.expect("no schemas"))
}

pub(crate) fn values<T: Serialize>(values: &[T]) -> Vec<Value> {
    values.iter().filter_map(|value| serde_json::to_value(value).ok()).collect()
}

pub(crate) fn read<T: Serialize + DeserializeOwned + Clone>(
    json: &Value,
) -> Option<(Value, Value)> {
    // As text: what serde reads from a `Value` differs.
    let value: T = serde_json::from_str(&json.to_string()).ok()?;
    let nest = serde_json::to_value(Nest::of(&value)).ok()?;
    Some((serde_json::to_value(value).ok()?, nest))
}

/// Whether what came is what was sent.
pub(crate) fn compare<T: PartialEq + Debug + Clone>(
    sent: &T,
    came: Vec<Result<Nest<T>, CallError<T>>>,
) -> Result<(), Outcome> {
    let right = came.len() == 4
        && came.iter().enumerate().all(|(i, item)| match item {
            Ok(nest) => i == 0 && *nest == Nest::of(sent),
            Err(CallError::Function(value)) => i > 0 && value == sent,
            Err(CallError::Remote(_)) => false,
        });
    let told = match came.last() {
        Some(Err(CallError::Remote(error))) => error.to_string(),
        _ => String::new(),
    };
    match () {
        () if right => Ok(()),
        () if told.contains("would not arrive as it is") => Err(Outcome::Partly),
        () => Err(Outcome::Lost(format!("sent {sent:?}, came {came:?}"))),
    }
}

/// A function of one type, and the values that are sent.
///
/// One only, as each takes the compiler its time: it has the type as an argument, as what its caller
/// streams, as an item and as an error.
macro_rules! subject {
    ($name:expr, $shown:expr, $ty:ty, [$($value:expr),* $(,)?]) => {
        use easyremote::remote;
        use futures::{Stream, StreamExt};

        #[remote(stream)]
        fn echo(
            first: $ty,
            values: impl Stream<Item = $ty>,
        ) -> impl Stream<Item = Result<$crate::subject::Nest<$ty>, $ty>> {
            let own = futures::stream::iter([Ok($crate::subject::Nest::of(&first)), Err(first)]);
            own.chain(values.map(Err))
        }

        async fn check(world: &$crate::subject::World) -> Result<(), $crate::subject::Outcome> {
            let functions = easyremote::functions![echo];
            let _node = $crate::subject::serve(world, functions).await?;
            let client = &world.client;
            let values: Vec<$ty> = vec![$($value),*];
            let mut worst = Ok(());
            for value in values {
                let stream = futures::stream::iter([value.clone(), value.clone()]);
                let came = echo::call(client, value.clone(), stream).collect::<Vec<_>>();
                match $crate::subject::compare(&value, $crate::subject::soon(came).await) {
                    Err($crate::subject::Outcome::Partly) => {
                        worst = Err($crate::subject::Outcome::Partly);
                    }
                    other => other?,
                }
            }
            worst
        }

        pub(crate) fn entry() -> $crate::subject::Subject {
            $crate::subject::Subject {
                name: $name.to_owned(),
                shown: $shown,
                check: |world| Box::pin(check(world)),
                describe: |world| {
                    Box::pin($crate::subject::describe(world, easyremote::functions![echo]))
                },
                values: || $crate::subject::values::<$ty>(&[$($value),*]),
                read: $crate::subject::read::<$ty>,
            }
        }
    };
}

pub(crate) use subject;

/// The table of `docs/types.md`.
pub(crate) fn table(of: &[(Subject, Outcome)]) -> String {
    let line = |(subject, outcome): &(Subject, Outcome)| {
        let outcome = match outcome {
            Outcome::Arrived => "arrives",
            Outcome::Refused(_) => "refused",
            Outcome::Partly => "arrives, or is an error at its sender",
            Outcome::Lost(_) => "lost",
        };
        let shown: Vec<&str> = subject.shown.split_whitespace().collect();
        format!("| `{}` | {outcome} |\n", shown.join(" "))
    };
    of.iter().map(line).collect()
}
