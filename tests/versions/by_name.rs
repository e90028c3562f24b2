//! Kinds of functions × changes × direction × declared or not.

use easyremote::node::NodeBuilder;
use easyremote::{Client, ErrorKind, Executed};
use serde_json::{Value, json};

use common::{soon, until};

use crate::family::{Calls, served};

versions! {
    base, base_named, base_lossy {
        pub(crate) struct Item { id: u32, name: String }
    }
    gained, gained_named, gained_lossy {
        pub(crate) struct Item { id: u32, note: Option<Note>, name: String }
        pub(crate) struct Note { text: String }
    }
    defaulted, defaulted_named, defaulted_lossy {
        pub(crate) struct Item { id: u32, name: String, #[serde(default)] level: u8 }
    }
    reordered, reordered_named, reordered_lossy {
        pub(crate) struct Item { name: String, id: u64 }
    }
    aliased, aliased_named, aliased_lossy {
        pub(crate) struct Item { #[serde(alias = "name")] title: String, id: u32 }
    }
    nested, nested_named, nested_lossy {
        pub(crate) struct Item { inner: Vec<Inner>, tag: Tag }
        pub(crate) struct Inner { a: u8 }
        #[serde(tag = "type")]
        pub(crate) enum Tag { One { x: u8 } }
    }
    nested_more, nested_more_named, nested_more_lossy {
        pub(crate) struct Item { tag: Tag, inner: Vec<Inner> }
        pub(crate) struct Inner { b: Option<bool>, a: u8 }
        #[serde(tag = "type")]
        pub(crate) enum Tag { Two, One { y: Option<u8>, #[serde(alias = "z")] x: u8 } }
    }
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
enum Ends {
    /// This comes back.
    Ok(Value),
    /// The arguments are refused, because of this field.
    Arguments(&'static str),
    /// The answer is refused, because of this field.
    Answer(&'static str),
}

use Ends::{Answer, Arguments};

/// A version as a caller: its calls without `skew`, by name and lossy.
type Caller = [fn(&Client, Value) -> Calls; 3];

macro_rules! caller {
    ($plain:ident, $by_name:ident, $lossy:ident) => {
        [$plain::calls, $by_name::calls, $lossy::calls]
    };
}

struct Case {
    what: &'static str,
    caller: Caller,
    node: fn(NodeBuilder) -> NodeBuilder,
    item: Value,
    by_name: Ends,
    lossy: Ends,
    /// Fields that a lossy call leaves out of the arguments, and of the answer.
    left_out: (u64, u64),
}

fn plain() -> Value {
    json!({"id": 7, "name": "seven"})
}

fn cases() -> Vec<Case> {
    let base = || caller!(base, base_named, base_lossy);
    let ok = |value: Value| Ends::Ok(value);
    let with = |more: Value| {
        let mut item = plain();
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let case = |what, caller, node, item, by_name: &Ends, lossy: &Ends| Case {
        what,
        caller,
        node,
        item,
        by_name: by_name.clone(),
        lossy: lossy.clone(),
        left_out: (0, 0),
    };
    let gained = || caller!(gained, gained_named, gained_lossy);
    let defaulted = || caller!(defaulted, defaulted_named, defaulted_lossy);
    let none = with(json!({"note": null}));
    let some = with(json!({"note": {"text": "n"}}));
    let same = ok(plain());
    let nested = || caller!(nested, nested_named, nested_lossy);
    let nested_more = || caller!(nested_more, nested_more_named, nested_more_lossy);
    let inner = json!({"inner": [{"a": 1}], "tag": {"type": "One", "x": 2}});
    let unset = json!({"inner": [{"a": 1, "b": null}], "tag": {"type": "One", "x": 2, "y": null}});
    let set = json!({"inner": [{"a": 1, "b": true}], "tag": {"type": "One", "x": 2, "y": 3}});
    let tagged = json!({"inner": [], "tag": {"type": "One", "x": 2, "y": 3}});
    let level = with(json!({"level": 3}));
    vec![
        case("old to one with an option more", base(), gained::node, plain(), &same, &same),
        case(
            "unused option to old",
            gained(),
            base::node,
            none.clone(),
            &ok(none.clone()),
            &ok(none.clone()),
        ),
        Case {
            left_out: (1, 0),
            ..case("option to old", gained(), base::node, some, &Arguments("note"), &ok(none))
        },
        Case {
            left_out: (0, 1),
            ..case(
                "old to one with a default more",
                base(),
                defaulted::node,
                plain(),
                &Answer("level"),
                &same,
            )
        },
        Case {
            left_out: (1, 0),
            ..case(
                "default to old",
                defaulted(),
                base::node,
                level,
                &Arguments("level"),
                &ok(with(json!({"level": 0}))),
            )
        },
        case("old to reordered", base(), reordered::node, plain(), &same, &same),
        case(
            "reordered to old",
            caller!(reordered, reordered_named, reordered_lossy),
            base::node,
            plain(),
            &same,
            &same,
        ),
        // Without the new name the old field is missing.
        case(
            "old to renamed with an alias",
            base(),
            aliased::node,
            plain(),
            &Answer("title"),
            &Answer("name"),
        ),
        case(
            "renamed with an alias to old",
            caller!(aliased, aliased_named, aliased_lossy),
            base::node,
            plain(),
            &Arguments("title"),
            &Arguments("name"),
        ),
        case(
            "nested to nested with more",
            nested(),
            nested_more::node,
            inner.clone(),
            &ok(inner.clone()),
            &ok(inner.clone()),
        ),
        case(
            "nested and unset to old",
            nested_more(),
            nested::node,
            unset.clone(),
            &ok(unset.clone()),
            &ok(unset.clone()),
        ),
        Case {
            left_out: (2, 0),
            ..case(
                "nested and set to old",
                nested_more(),
                nested::node,
                set,
                &Arguments("inner[0].b"),
                &ok(unset),
            )
        },
        Case {
            left_out: (1, 0),
            ..case(
                "buffered and set to old",
                nested_more(),
                nested::node,
                tagged,
                &Arguments("`y`"),
                &ok(json!({"inner": [], "tag": {"type": "One", "x": 2, "y": null}})),
            )
        },
    ]
}

async fn all_cases() {
    for case in cases() {
        run(&case).await;
    }
}

async fn run(case: &Case) {
    let (_world, node, client) = served(case.node).await;
    let [plain, by_name, lossy] = case.caller;
    for (kind, call) in plain(&client, case.item.clone()) {
        let what = format!("{}, {kind}, undeclared", case.what);
        if kind == "wait for a node" {
            continue;
        }
        let error = soon(call).await.expect_err(&what);
        let seen = (error.kind(), error.executed());
        assert_eq!(seen, (ErrorKind::SignatureMismatch, Executed::No), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains("this caller `") && text.contains("differ at"), "{what}: {text}");
    }
    for (kind, call) in by_name(&client, case.item.clone()) {
        check(&format!("{}, {kind}, by name", case.what), &case.by_name, soon(call).await);
    }
    assert_eq!((client.stats().left_out, node.stats().left_out), (0, 0), "{}", case.what);
    for (kind, call) in lossy(&client, case.item.clone()) {
        let what = format!("{}, {kind}, lossy", case.what);
        let before = (node.stats().left_out, client.stats().left_out);
        check(&what, &case.lossy, soon(call).await);
        if kind != "unary" && kind != "method" {
            continue;
        }
        let after = (node.stats().left_out, client.stats().left_out);
        assert_eq!((after.0 - before.0, after.1 - before.1), case.left_out, "{what}");
    }
    until(|| client.stats().in_flight == 0).await;
}

fn check(what: &str, expected: &Ends, seen: crate::family::Seen) {
    match (expected, seen) {
        (Ends::Ok(value), Ok(seen)) => assert_eq!(seen, std::slice::from_ref(value), "{what}"),
        (Ends::Ok(_), Err(error)) => panic!("{what}: {error}"),
        (_, Ok(seen)) => panic!("{what}: {seen:?} in place of {expected:?}"),
        (Arguments(field), Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::BadArguments, "{what}: {error}");
            assert!(error.to_string().contains(field), "{what}: {error}");
            // Items arrive while the function runs.
            let streams = what.contains("client stream") || what.contains("both ways");
            let executed = if streams { Executed::Yes } else { Executed::No };
            assert_eq!(error.executed(), executed, "{what}: {error}");
        }
        (Answer(field), Err(error)) => {
            let seen = (error.kind(), error.executed());
            assert_eq!(seen, (ErrorKind::BadResponse, Executed::Yes), "{what}: {error}");
            assert!(error.to_string().contains(field), "{what}: {error}");
        }
    }
}

/// Callers that declare `skew` and find a node with their types.
#[tokio::test]
async fn equal_versions_have_no_need_of_names() {
    let item = json!({"id": 7, "note": {"text": "n"}, "name": "seven"});
    let (_world, _node, client) = served(gained::node).await;
    for calls in [gained::calls, gained_named::calls, gained_lossy::calls] {
        for (kind, call) in calls(&client, item.clone()) {
            check(kind, &Ends::Ok(item.clone()), soon(call).await);
        }
    }
    assert_eq!(client.stats().left_out, 0);
}

#[tokio::test]
async fn versions_understand_each_other_by_name_where_that_is_declared() {
    all_cases().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_understand_each_other_on_several_threads() {
    all_cases().await;
}
