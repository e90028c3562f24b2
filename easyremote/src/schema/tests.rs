//! Tests of tracing and of the two texts of a shape.

mod json;
mod samples;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::TypeSchema;
use super::graph::Graph;

/// The shape of a type, as a format for machines sees it.
fn trace<T: DeserializeOwned>() -> TypeSchema {
    let mut graph = Graph::new(false);
    graph.explore::<T>(&mut drop);
    graph.shape()
}

/// The text for people.
fn shown<T: DeserializeOwned>() -> String {
    trace::<T>().to_string()
}

/// The text for machines.
fn canonical<T: DeserializeOwned>() -> String {
    trace::<T>().canonical()
}

#[derive(Deserialize)]
#[expect(dead_code)]
struct Config {
    sensors: u32,
    rate: f64,
}

#[derive(Deserialize)]
#[expect(dead_code)]
struct Page<T> {
    items: Vec<T>,
    next: Option<u64>,
}

#[derive(Deserialize)]
#[expect(dead_code)]
enum Op {
    Add,
    Sub(i64),
    Mul(u8, u16),
    Div { by: Config, exact: bool },
}

#[test]
fn primitives_are_told_apart_by_kind_and_width() {
    type All = (
        (bool, u8, u16, u32, u64, u128, usize),
        (i8, i16, i32, i64, i128, isize),
        (f32, f64, char, String, ()),
    );
    assert_eq!(
        shown::<All>(),
        "((bool, u8, u16, u32, u64, u128, u64), (i8, i16, i32, i64, i128, i64), \
         (f32, f64, char, String, ()))"
    );
    assert_eq!(
        canonical::<All>(),
        "((bool,u8,u16,u32,u64,u128,u64),(i8,i16,i32,i64,i128,i64),(f32,f64,char,str,()))"
    );
}

#[test]
fn containers_of_the_standard_library_are_described() {
    assert_eq!(shown::<Option<String>>(), "Option<String>");
    assert_eq!(shown::<Vec<u8>>(), "Vec<u8>");
    assert_eq!(shown::<HashSet<Vec<bool>>>(), "Vec<Vec<bool>>");
    assert_eq!(shown::<HashMap<String, i8>>(), "Map<String, i8>");
    assert_eq!(shown::<BTreeMap<u8, Option<()>>>(), "Map<u8, Option<()>>");
    assert_eq!(shown::<Cow<'static, str>>(), "String");
    assert_eq!(shown::<(u8,)>(), "(u8,)");
    assert_eq!(shown::<Duration>(), "Duration { secs: u64, nanos: u32 }");
    assert_eq!(
        shown::<SystemTime>(),
        "SystemTime { secs_since_epoch: u64, nanos_since_epoch: u32 }"
    );
    assert_eq!(shown::<PhantomData<u8>>(), "PhantomData");
    assert_eq!(shown::<Result<u8, String>>(), "Result<u8, String>");
    assert_eq!(canonical::<Result<u8, ()>>(), r#"enum"Result"{"Ok"=u8,"Err"=()}"#);
    assert_eq!(shown::<Box<[Option<Box<u8>>]>>(), "Vec<Option<u8>>");
}

#[test]
fn arrays_are_tuples_until_they_are_long() {
    assert_eq!(trace::<[u8; 0]>(), TypeSchema::Unit);
    assert_eq!(trace::<[u8; 3]>(), trace::<(u8, u8, u8)>());
    assert_eq!(shown::<[u8; 3]>(), "(u8, u8, u8)");
    assert_eq!(shown::<[Config; 32]>(), "[Config { sensors: u32, rate: f64 }; 32]");
    assert_eq!(canonical::<[[f32; 6]; 5]>(), "[[f32;6];5]");
    assert_ne!(canonical::<[u8; 16]>(), canonical::<[u8; 17]>());
    assert_eq!(shown::<(u8, u8, u8, u8, i8)>(), "(u8, u8, u8, u8, i8)");
}

#[test]
fn structs_nest() {
    #[derive(Deserialize)]
    struct Empty {}
    #[derive(Deserialize)]
    struct Nothing;
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct Metres(f64);
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct Point(Metres, Metres);
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct Outer {
        empty: Empty,
        nothing: Nothing,
        point: Point,
        config: Option<Config>,
    }
    assert_eq!(
        shown::<Outer>(),
        "Outer { empty: Empty {}, nothing: Nothing, point: Point(Metres(f64), Metres), \
         config: Option<Config { sensors: u32, rate: f64 }> }"
    );
    assert_eq!(
        canonical::<Outer>(),
        r##"struct"Outer"{"empty":struct"Empty"{},"nothing":struct"Nothing","##.to_owned()
            + r##""point":struct"Point"(struct"Metres"=f64,#3),"##
            + r##""config":option<struct"Config"{"sensors":u32,"rate":f64}>}"##
    );
}

#[test]
fn every_kind_of_variant_is_described() {
    assert_eq!(
        shown::<Op>(),
        "enum Op { Add, Sub(i64), Mul(u8, u16), \
         Div { by: Config { sensors: u32, rate: f64 }, exact: bool } }"
    );
    assert_eq!(
        canonical::<Vec<Op>>(),
        r#"seq<enum"Op"{"Add","Sub"=i64,"Mul"(u8,u16),"Div"{"by":"#.to_owned()
            + r#"struct"Config"{"sensors":u32,"rate":f64},"exact":bool}}>"#
    );
}

#[test]
fn enums_inside_options_inside_variants_are_explored_completely() {
    #[derive(Deserialize)]
    #[expect(dead_code)]
    enum Wrap {
        None,
        Some(Option<Vec<BTreeMap<u8, Op>>>),
    }
    assert!(!shown::<(Wrap, Option<Wrap>)>().contains('?'));
    assert!(shown::<Option<Wrap>>().contains("exact: bool"));
}

#[test]
fn recursive_types_end() {
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct List {
        value: u8,
        next: Option<Box<Self>>,
    }
    assert_eq!(shown::<List>(), "List { value: u8, next: Option<List> }");
    assert_eq!(canonical::<List>(), r##"struct"List"{"value":u8,"next":option<#0>}"##);

    #[derive(Deserialize)]
    #[expect(dead_code)]
    enum Expr {
        Neg(Box<Self>),
        Add(Box<Self>, Box<Self>),
        Call { args: Vec<Self> },
        Lit(i64),
    }
    assert_eq!(
        shown::<Expr>(),
        "enum Expr { Neg(Expr), Add(Expr, Expr), Call { args: Vec<Expr> }, Lit(i64) }"
    );
}

#[test]
fn mutually_recursive_types_end() {
    #[derive(Deserialize)]
    #[expect(dead_code)]
    enum A {
        X(Box<B>),
        W,
    }
    #[derive(Deserialize)]
    #[expect(dead_code)]
    enum B {
        Y(Box<A>),
        Z(Option<A>),
    }
    assert_eq!(shown::<A>(), "enum A { X(enum B { Y(A), Z(Option<A>) }), W }");
    assert_eq!(shown::<B>(), "enum B { Y(enum A { X(B), W }), Z(Option<A>) }");
}

#[test]
fn a_json_like_tree_ends() {
    #[derive(Deserialize)]
    #[expect(dead_code)]
    enum Json {
        Null,
        Bool(bool),
        Number(f64),
        String(String),
        Array(Vec<Self>),
        Object(BTreeMap<String, Self>),
    }
    assert_eq!(
        shown::<Json>(),
        "enum Json { Null, Bool(bool), Number(f64), String(String), Array(Vec<Json>), \
         Object(Map<String, Json>) }"
    );
}

#[test]
fn recursion_without_a_name_ends() {
    #[derive(Deserialize)]
    #[serde(transparent)]
    #[expect(dead_code)]
    struct Tree(Vec<Tree>);
    assert_eq!(shown::<Tree>(), "Vec<Vec<..>>");
    assert_eq!(canonical::<Tree>(), "seq<#0>");
}

#[test]
fn a_type_without_an_end_is_unknown_inside() {
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct Endless {
        id: u8,
        rest: Box<Endless>,
        after: u8,
    }
    assert_eq!(shown::<Endless>(), "Endless { id: u8, rest: Endless, after: u8 }");

    #[derive(Deserialize)]
    enum Never {}
    assert_eq!(shown::<(u8, Never, u8)>(), "(u8, enum Never {}, ?)");
    assert_eq!(shown::<(Vec<Never>, u8)>(), "(Vec<enum Never {}>, u8)");
}

#[test]
fn generic_types_are_told_apart_by_their_parameters() {
    assert_eq!(
        shown::<(Page<u8>, Page<u16>)>(),
        "(Page { items: Vec<u8>, next: Option<u64> }, Page { items: Vec<u16>, next: Option<u64> })"
    );
    assert_ne!(canonical::<Page<Page<u8>>>(), canonical::<Page<Page<u16>>>());
    assert_ne!(canonical::<(Page<u8>, Page<u16>)>(), canonical::<(Page<u8>, Page<u8>)>());
    type Six<T> = Page<Page<Page<Page<Page<Page<T>>>>>>;
    assert_ne!(canonical::<Six<u8>>(), canonical::<Six<u16>>());
}

#[test]
fn a_deep_nest_of_generics_is_complete() {
    macro_rules! nest {
        ($inner:ty;) => { $inner };
        ($inner:ty; $_:tt $($rest:tt)*) => { nest!(Option<Page<$inner>>; $($rest)*) };
    }
    let shape = shown::<nest!(i8; a b c d e f g h i j k l m n o p q r s t)>();
    assert!(shape.contains("Vec<i8>") && !shape.contains('?'), "{shape}");
}

#[test]
fn equal_types_with_different_paths_make_equal_shapes() {
    mod other {
        #[derive(serde::Deserialize)]
        #[expect(dead_code)]
        pub(crate) struct Config {
            sensors: u32,
            rate: f64,
        }
    }
    assert_eq!(trace::<(Config, Config)>(), trace::<(Config, other::Config)>());
    assert_eq!(shown::<(Config, Config)>(), "(Config { sensors: u32, rate: f64 }, Config)");
}

#[test]
fn the_canonical_text_follows_order_names_and_widths() {
    mod variants {
        use serde::Deserialize;
        #[derive(Deserialize)]
        #[expect(dead_code)]
        pub(crate) struct Swapped {
            rate: f64,
            sensors: u32,
        }
        #[derive(Deserialize)]
        #[serde(rename = "Config")]
        #[expect(dead_code)]
        pub(crate) struct Wider {
            sensors: u64,
            rate: f64,
        }
        #[derive(Deserialize)]
        #[serde(rename = "Config", rename_all = "UPPERCASE")]
        #[expect(dead_code)]
        pub(crate) struct Renamed {
            sensors: u32,
            rate: f64,
        }
        #[derive(Deserialize)]
        #[serde(rename = "Config")]
        #[expect(dead_code)]
        pub(crate) struct Skipped {
            sensors: u32,
            #[serde(skip)]
            cached: u8,
            #[serde(default)]
            rate: f64,
        }
    }
    let texts = [
        canonical::<Config>(),
        canonical::<variants::Swapped>(),
        canonical::<variants::Wider>(),
        canonical::<variants::Renamed>(),
    ];
    assert_eq!(texts[3], r#"struct"Config"{"SENSORS":u32,"RATE":f64}"#);
    assert_eq!(HashSet::from(texts).len(), 4);
    assert_eq!(canonical::<variants::Skipped>(), canonical::<Config>());
}

#[test]
fn names_are_quoted() {
    #[derive(Deserialize)]
    #[serde(rename = r#"a"b\"#)]
    #[expect(dead_code)]
    struct Odd {
        #[serde(rename = "ü,}")]
        field: u8,
    }
    assert_eq!(canonical::<Odd>(), r#"struct"a\"b\\"{"ü,}":u8}"#);
}

#[test]
fn transparent_structs_leave_no_trace() {
    #[derive(Deserialize)]
    #[serde(transparent)]
    #[expect(dead_code)]
    struct Id(u64);
    assert_eq!(trace::<Id>(), TypeSchema::U64);
}

#[test]
fn mutually_recursive_types_end_if_each_ends_last() {
    macro_rules! tree {
        ($($name:ident)*) => {
            tree!(@ ($($name)*) $($name)*);
        };
        (@ ($($all:ident)*)) => {};
        (@ ($($all:ident)*) $name:ident $($rest:ident)*) => {
            #[derive(Deserialize)]
            #[expect(dead_code, clippy::enum_variant_names)]
            enum $name {
                $($all(Box<$all>, Box<$name>, Option<Box<$all>>),)*
                Leaf(u32),
            }
            tree!(@ ($($all)*) $($rest)*);
        };
    }
    tree!(A B C D E F G H I J K L);
    let shape = shown::<A>();
    assert!(!shape.contains('?'), "{shape}");
}

#[test]
fn tracing_twice_gives_the_same_text() {
    type Everything = (Op, Page<Op>, HashMap<String, Config>, IpAddr, SocketAddr);
    assert_eq!(canonical::<Everything>(), canonical::<Everything>());
    assert!(trace::<Everything>() == trace::<Everything>());
}
