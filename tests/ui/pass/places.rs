//! Remote functions in modules, in functions, in methods and in blocks, with every visibility.
#![deny(warnings)]

use easyremote::node::Functions;
use easyremote::{Client, Error, functions, remote};

mod api {
    use easyremote::remote;

    #[remote]
    pub(crate) fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    #[remote]
    pub(super) async fn subtract(a: i64, b: i64) -> i64 {
        a - b
    }

    pub mod inner {
        use easyremote::remote;

        #[remote(stream)]
        pub(in crate::api) fn count(to: u64) -> impl Iterator<Item = u64> {
            0..to
        }

        // The same name as outside: on the wire they differ.
        #[remote(name = "inner.add")]
        pub fn add(a: i64, b: i64) -> i64 {
            a + b
        }
    }

    pub(super) fn functions() -> easyremote::node::Functions {
        easyremote::functions![add, self::subtract, inner::count]
    }
}

// One `use` brings the function and its stub.
pub use api::inner::add as inner_add;
use api::{add, subtract};

/// Its types may be private and local too.
fn in_a_function() -> Functions {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Local(u8);

    #[remote]
    fn increment(number: Local) -> Local {
        Local(number.0 + 1)
    }

    assert_eq!(increment(Local(1)).0, 2);
    functions![increment]
}

struct Model;

impl Model {
    fn functions(&self) -> Functions {
        #[remote]
        fn embed(text: String) -> Vec<f32> {
            vec![text.len() as f32]
        }
        functions![embed]
    }
}

/// Two functions of one name in two blocks.
fn in_blocks() -> [Functions; 2] {
    let one = {
        #[remote]
        fn number() -> u8 {
            1
        }
        functions![number]
    };
    let two = {
        #[remote]
        fn number() -> u16 {
            2
        }
        functions![number]
    };
    [one, two]
}

async fn callers(client: Client) -> Result<i64, Error> {
    let sum = add::call(&client, 1, 2).await? + api::add::call(&client, 1, 2).await?;
    let difference = subtract::call(&client, 1, 2).await?;
    Ok(sum + difference + inner_add::call(&client, 1, 2).await?)
}

fn main() {
    let _ = callers;
    let _ = (api::functions(), in_a_function(), Model.functions(), in_blocks());
    let _ = functions![api::inner::add, crate::api::add, self::subtract];
    let _ = functions![api::inner::add];
    assert_eq!(add(1, 2), inner_add(1, 2));
}
