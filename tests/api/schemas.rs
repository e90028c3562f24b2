//! The JSON Schemas of functions, as clients read them.

use std::collections::BTreeMap;

use common::{World, soon};
use easyremote::client::{Client, FunctionSchemas};
use easyremote::node::Functions;
use easyremote::{functions, remote};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize)]
struct Config {
    /// Serde does not tell what fields are for.
    sensors: Vec<String>,
    #[serde(default)]
    rate: f64,
    parent: Option<Box<Config>>,
}

#[derive(Serialize, Deserialize)]
enum Bad {
    Rate(f64),
    Name,
}

/// Other types that have the same name.
mod other {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Config {
        pub(crate) own: Option<Box<Config>>,
    }
}

/// Reads sensors.
///
/// Until there are none.
#[remote(stream)]
fn sample(
    /// Which ones.
    config: Config,
    /// How many
    /// items.
    n: u8,
    plain: bool,
) -> Result<impl Iterator<Item = Result<BTreeMap<String, f64>, Bad>>, String> {
    let _ = (config, plain);
    if n == 0 { Err("none".to_owned()) } else { Ok((0..n).map(|_| Err(Bad::Name))) }
}

#[remote]
fn compare(one: Config, two: other::Config) -> bool {
    one.parent.is_some() == two.own.is_some()
}

#[remote]
async fn sum(start: i64, items: impl Stream<Item = i32>) -> i64 {
    items.fold(start, async |sum, item| sum + i64::from(item)).await
}

#[remote(err = "display")]
fn ratio(a: f64, b: f64) -> Result<f64, String> {
    if b == 0.0 && a == 0.0 { Err("no ratio".to_owned()) } else { Ok(a / b) }
}

#[remote]
fn nothing() {}

struct Model;

#[remote]
impl Model {
    /// Embeds a text.
    fn embed(
        &self,
        /// The text.
        text: String,
    ) -> Vec<f32> {
        vec![text.len() as f32]
    }
}

#[remote]
trait Greeter {
    fn greet(
        &self,
        /// Whom.
        name: String,
    ) -> String;
}

impl Greeter for Model {
    fn greet(&self, name: String) -> String {
        format!("hello {name}")
    }
}

/// Declared here, and implemented below.
#[remote]
fn declared(
    /// A number.
    a: u8,
);

#[remote(implements = declared)]
fn declared_here(a: u8) {
    let _ = a;
}

async fn listed(client: &Client) -> BTreeMap<String, FunctionSchemas> {
    let functions = soon(client.functions()).await.unwrap();
    functions.into_iter().filter_map(|it| Some((it.name, it.schemas?))).collect()
}

async fn schemas(
    functions: Functions,
) -> (World, easyremote::Node, BTreeMap<String, FunctionSchemas>) {
    let world = World::start().await;
    let node = world.node_builder().functions(functions).state(Model).serve();
    let node = soon(node).await.unwrap();
    let client = world.client().await;
    let listed = listed(&client).await;
    (world, node, listed)
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[tokio::test]
async fn arguments_are_described_by_name() {
    let listed = functions![sample, nothing, Model, GreeterServer<Model>, declared_here];
    let (_world, _node, of) = schemas(listed).await;
    let arguments = of["sample"].arguments();
    assert_eq!(arguments["$schema"], DIALECT);
    assert_eq!(arguments["description"], "Reads sensors.\n\nUntil there are none.");
    assert_eq!(arguments["required"], json!(["config", "n", "plain"]));
    assert_eq!(arguments["additionalProperties"], false);
    let properties = &arguments["properties"];
    assert_eq!(
        properties["config"],
        json!({ "$ref": "#/$defs/Config", "description": "Which ones." })
    );
    assert_eq!(properties["n"]["description"], "How many\nitems.");
    assert_eq!(properties["plain"], json!({ "type": "boolean" }));
    let config = &arguments["$defs"]["Config"];
    assert_eq!(config["required"], json!(["sensors"]));
    assert_eq!(config["properties"]["rate"], json!({ "type": "number" }));
    let parent = json!({ "anyOf": [{ "$ref": "#/$defs/Config" }, { "type": "null" }] });
    assert_eq!(config["properties"]["parent"], parent);

    let nothing = of["nothing"].arguments();
    assert_eq!(
        nothing,
        json!({
            "$schema": DIALECT,
            "type": "object",
            "properties": {},
            "required": [],
            "additionalProperties": false,
        })
    );
    assert_eq!(of["nothing"].result().unwrap()["type"], "null");
    let embed = of["Model.embed"].arguments();
    assert_eq!(embed["description"], "Embeds a text.");
    assert_eq!(embed["properties"]["text"]["description"], "The text.");
    let greet = of["Greeter.greet"].arguments();
    assert_eq!(greet["properties"]["name"]["description"], "Whom.");
    let declared = of["declared"].arguments();
    assert_eq!(declared["properties"]["a"]["description"], "A number.");
}

#[tokio::test]
async fn what_comes_back_is_described_by_its_role() {
    let (_world, _node, of) = schemas(functions![sample, sum, ratio]).await;
    let number = json!({ "$schema": DIALECT, "type": ["number", "null"] });
    let sample = &of["sample"];
    let item = sample.item().unwrap();
    // What is infinite is null in JSON.
    assert_eq!(item["additionalProperties"], json!({ "type": ["number", "null"] }));
    let bad = sample.error().unwrap();
    assert_eq!(bad["$ref"], "#/$defs/Bad");
    assert_eq!(bad["$defs"]["Bad"]["oneOf"][0], json!({ "type": "string", "enum": ["Name"] }));
    assert_eq!(sample.setup_error().unwrap()["type"], "string");
    assert_eq!((sample.result(), sample.upload()), (None, None));

    let sum = &of["sum"];
    assert_eq!(sum.upload().unwrap()["maximum"], i32::MAX);
    assert_eq!(sum.result().unwrap()["minimum"], i64::MIN);
    assert_eq!((sum.item(), sum.error(), sum.setup_error()), (None, None, None));

    let ratio = &of["ratio"];
    assert_eq!((ratio.result(), ratio.error()), (Some(number), None));
    assert_eq!(ratio.arguments()["properties"]["a"], json!({ "type": "number" }));
}

#[tokio::test]
async fn two_types_of_one_name_have_two_definitions() {
    let (_world, _node, of) = schemas(functions![compare]).await;
    let arguments = of["compare"].arguments();
    let target = |value: &Value| {
        let name = value["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        arguments["$defs"][name].clone()
    };
    let one = target(&arguments["properties"]["one"]);
    let two = target(&arguments["properties"]["two"]);
    assert_eq!(one["properties"]["parent"]["anyOf"][0], arguments["properties"]["one"]);
    assert_eq!(two["properties"]["own"]["anyOf"][0], arguments["properties"]["two"]);
    assert_ne!(one, two);
}

/// A struct with as many fields as it takes to be too large.
macro_rules! wide {
    ($name:ident: $($field:ident)*) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name {
            $($field: [(u64, u64); 2],)*
        }
    };
}

wide! { Wide: a b c d e f g h i j k l m n o p q r s t u v w x y z aa ab ac ad ae af ag ah ai aj ak al
am an ao ap aq ar at au av aw ax ay az ba bb bc bd be bf bg bh bi bj bk bl bm bn bo bp bq br bs bt
bu bv bw bx by bz ca cb cc cd ce cf cg ch ci cj ck cl cm cn co cp cq cr cs ct cu cv cw cx cy cz }

#[remote]
fn widen() -> Wide {
    Wide::default()
}

#[remote]
fn narrow(a: u8) -> u8 {
    a
}

#[tokio::test]
async fn schemas_that_are_too_long_are_left_out_and_nothing_else() {
    let (world, _node, of) = schemas(functions![widen, narrow]).await;
    assert_eq!(of.keys().collect::<Vec<_>>(), ["narrow"]);
    let client = world.client().await;
    let listed = soon(client.functions()).await.unwrap();
    assert_eq!(listed.len(), 2);
    let answer = soon(client.call_json("widen", json!([]))).await.unwrap();
    assert_eq!(answer["a"], json!([[0, 0], [0, 0]]));
}

#[tokio::test]
async fn a_registration_has_room_for_some_schemas_of_very_many_functions() {
    let world = World::start().await;
    let mut node = world.node_builder().functions(functions![Documented]);
    for n in 0..1_024 {
        node = node.instance(format!("{n:04}"), Documented);
    }
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let listed = soon(client.functions()).await.unwrap();
    assert_eq!(listed.len(), 1_024);
    let told: Vec<_> = listed.iter().map(|it| it.schemas.is_some()).collect();
    let n = told.iter().filter(|is_told| **is_told).count();
    assert!((100..1_024).contains(&n), "{n}");
    // By name, until there is no room.
    assert!(told[..n].iter().all(|is_told| *is_told));
}

struct Documented;

#[remote]
impl Documented {
    /// A doc comment of three hundred bytes, so that the documentation alone takes a third of what a
    /// node may register, and the schemas, which contain it as well, another third; what is left is
    /// taken by what the types are, and there is not enough of it for all of them, as is intended.
    fn explain(
        &self,
        /// A parameter that is documented at length, too, as the author had much to say about it.
        first: [(u64, i64); 3],
        second: Option<(u16, u32, i16, i32)>,
    ) -> (u64, i64, u32) {
        let _ = second;
        (first[0].0, first[0].1, 0)
    }
}
