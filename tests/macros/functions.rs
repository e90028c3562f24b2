//! `functions!()`: all functions of the calling crate, and none of its dependencies.

use common::{World, offered, soon};
use easyremote::node::Functions;
use easyremote::{Context, functions, remote};

use crate::surface;

/// Not listed: it has no body.
#[remote]
pub async fn declared(text: String) -> usize;

mod inner {
    #[easyremote::remote(name = "inner.implemented", stub = Implemented)]
    fn implemented() -> u8 {
        7
    }

    pub(super) mod deeper {
        #[easyremote::remote(stream)]
        fn streamed() -> impl Iterator<Item = u8> {
            0..3
        }
    }
}

#[remote(implements = declared)]
async fn declared_here(text: String) -> usize {
    text.len()
}

#[cfg(not(miri))]
#[remote]
fn always() {}

#[cfg(miri)]
#[remote]
fn never() {}

#[cfg_attr(not(miri), remote(name = "conditional"))]
fn conditional() {}

#[remote]
fn with_state(#[state] word: &Word, #[ctx] _: &Context) -> String {
    word.0.clone()
}

struct Word(String);

const _: () = {
    #[remote]
    fn in_a_constant() {}
};

#[allow(dead_code)]
fn never_called<T: Default>() {
    drop(T::default());
    #[cfg(not(miri))]
    #[remote]
    fn in_a_body() {}
    #[remote]
    async fn last_in_a_body(from: u64) -> u64 {
        from
    }
}

macro_rules! define {
    ($name:ident) => {
        #[remote]
        fn $name() {}
    };
}
define!(by_a_macro);

fn names(functions: &Functions) -> Vec<&str> {
    functions.names().collect()
}

/// Those that the other file of this crate does not have.
fn of_this_file(functions: &Functions) -> Vec<&str> {
    let others = surface::all();
    functions.names().filter(|name| !names(&others).contains(name)).collect()
}

/// In the order of this file.
pub(crate) const ALL: [&str; 10] = [
    "inner.implemented",
    "streamed",
    "declared",
    "always",
    "conditional",
    "with_state",
    "in_a_constant",
    "in_a_body",
    "last_in_a_body",
    "by_a_macro",
];

#[test]
fn every_function_with_a_body_is_listed_once() {
    assert_eq!(of_this_file(&functions!()), ALL);
    assert_eq!(names(&functions!()), names(&functions!()), "the list can be made again");
    assert_eq!(names(&common::functions_here!()), names(&functions!()));
}

#[test]
fn a_library_lists_its_own() {
    let listed = offered::functions();
    let listed = names(&listed);
    assert!(listed.contains(&"of_the_library"), "{listed:?}");
    assert!(ALL.iter().all(|name| !listed.contains(name)), "{listed:?}");
}

#[tokio::test]
async fn a_node_offers_its_crate_and_what_it_takes_from_a_library() {
    let world = World::start().await;
    let node = surface::with_state(world.node_builder()).state(Word("state".to_owned()));
    let node = node.functions(functions!());
    let _node = soon(node.functions(offered::functions()).serve()).await.unwrap();
    let client = world.client().await;
    assert_eq!(soon(declared::call(&client, "four".into())).await.unwrap(), 4);
    assert_eq!(soon(with_state::call(&client)).await.unwrap(), "state");
    assert_eq!(soon(offered::of_the_library::call(&client)).await.unwrap(), "library");
    let offered = soon(client.functions()).await.unwrap();
    for name in ALL {
        assert!(offered.iter().any(|function| function.name == name), "{name}");
    }
}
