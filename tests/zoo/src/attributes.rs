//! Every attribute of serde that changes what is written, alone and in pairs.

use crate::subject::Subject;

/// A struct for each attribute of a struct and each of a field.
macro_rules! structs {
    ($fields:tt $(($container:ident $(#[$meta:meta])*))*) => {
        fn structs() -> Vec<Subject> {
            let all = [$($container::all()),*];
            all.into_iter().flatten().collect()
        }

        $(
            mod $container {
                use super::*;

                structs!(@fields $container [$(#[$meta])*] $fields);
            }
        )*
    };
    (@fields $container:ident $metas:tt
        [$(($field:ident $(#[$meta:meta])* = [$($second:expr),*]))*]
    ) => {
        pub(crate) fn all() -> Vec<Subject> {
            vec![$($field::entry()),*]
        }

        $(
            mod $field {
                structs!(@one $container $metas $field [$(#[$meta])*] [$($second),*]);
            }
        )*
    };
    (@one $container:ident [$($outer:tt)*] $field:ident [$($inner:tt)*] [$($second:expr),*]) => {
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        $($outer)*
        pub(crate) struct Held {
            pub(crate) first: u8,
            $($inner)*
            pub(crate) second: Option<u16>,
            pub(crate) last: i64,
        }

        crate::subject::subject! {
            concat!(stringify!($container), "+", stringify!($field)),
            concat!(stringify!($($outer)*), " struct { ", stringify!($($inner)*), " Option<u16> }"),
            Held,
            [
                $(
                    Held { first: 0, second: $second, last: 0 },
                    Held { first: 200, second: $second, last: i64::MIN },
                )*
            ]
        }
    };
}

/// An adapter that writes a number as text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Option<u16>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|n| n.to_string()).unwrap_or_default().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

fn seven() -> Option<u16> {
    Some(7)
}

fn is_seven(value: &Option<u16>) -> bool {
    *value == Some(7)
}

structs! {
    [
        (plain = [None, Some(0), Some(u16::MAX)])
        (renamed #[serde(rename = "2nd")] = [None, Some(5)])
        (renamed_one_way #[serde(rename(serialize = "x", deserialize = "y"))] = [None, Some(5)])
        (alias #[serde(alias = "zweites", alias = "a")] = [None, Some(5)])
        (default #[serde(default)] = [None, Some(5)])
        (default_path #[serde(default = "super::super::seven")] = [None, Some(5), Some(7)])
        (skip #[serde(skip)] = [None])
        (skip_serializing #[serde(skip_serializing)] = [None])
        (skip_serializing_default #[serde(skip_serializing, default)] = [None])
        (skip_deserializing #[serde(skip_deserializing)] = [None])
        (skip_if_none
            #[serde(skip_serializing_if = "Option::is_none")] = [None, Some(0), Some(5)])
        (skip_if_none_default
            #[serde(default, skip_serializing_if = "Option::is_none")] = [None, Some(0), Some(5)])
        (skip_if_seven
            #[serde(default = "super::super::seven", skip_serializing_if = "super::super::is_seven")]
            = [None, Some(7), Some(5)])
        (adapter #[serde(with = "super::super::as_text")] = [None, Some(0), Some(5)])
        (adapter_default
            #[serde(default, with = "super::super::as_text", alias = "b")] = [None, Some(5)])
    ]
    (none)
    (rename_all #[serde(rename_all = "SCREAMING-KEBAB-CASE")])
    (deny_unknown #[serde(deny_unknown_fields)])
    (defaulted #[serde(default)])
    (tagged #[serde(tag = "type")])
}

/// An enum for each way to tell variants apart and each attribute of a variant.
macro_rules! enums {
    ($variants:tt $(($container:ident $(#[$meta:meta])*))*) => {
        fn enums() -> Vec<Subject> {
            let all = [$($container::all()),*];
            all.into_iter().flatten().collect()
        }

        $(
            mod $container {
                use super::*;

                enums!(@variants $container [$(#[$meta])*] $variants);
            }
        )*
    };
    (@variants $container:ident $metas:tt [$(($variant:ident $(#[$meta:meta])*))*]) => {
        pub(crate) fn all() -> Vec<Subject> {
            vec![$($variant::entry()),*]
        }

        $(
            mod $variant {
                enums!(@one $container $metas $variant [$(#[$meta])*]);
            }
        )*
    };
    (@one $container:ident [$($outer:tt)*] $variant:ident [$($inner:tt)*]) => {
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(crate) struct Point {
            pub(crate) x: u8,
            pub(crate) y: Option<String>,
        }

        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        $($outer)*
        pub(crate) enum Held {
            Newtype(Point),
            $($inner)*
            Struct { amount: i64, name: String },
            Unit,
        }

        crate::subject::subject! {
            concat!(stringify!($container), "+", stringify!($variant)),
            concat!(stringify!($($outer)*), " enum { ", stringify!($($inner)*), " .. }"),
            Held,
            [
                Held::Newtype(Point { x: 1, y: None }),
                Held::Newtype(Point { x: 255, y: Some("é".to_owned()) }),
                Held::Struct { amount: -7, name: "n".to_owned() },
                Held::Unit,
            ]
        }
    };
}

enums! {
    [
        (plain)
        (renamed #[serde(rename = "2nd")])
        (alias #[serde(alias = "Zweites", alias = "A")])
        (renamed_fields #[serde(rename_all = "UPPERCASE")])
    ]
    (external)
    (external_renamed #[serde(rename_all = "snake_case", rename_all_fields = "camelCase")])
    (internal #[serde(tag = "type")])
    (adjacent #[serde(tag = "t", content = "c")])
    (untagged #[serde(untagged)])
    (internal_strict #[serde(tag = "type", deny_unknown_fields)])
    (adjacent_strict #[serde(tag = "t", content = "c", deny_unknown_fields)])
}

/// Types that are no product of the two.
macro_rules! others {
    ($($name:ident: $shown:literal, $ty:ident { $($item:item)* } [$($value:expr),* $(,)?])*) => {
        fn others() -> Vec<Subject> {
            vec![$($name::entry()),*]
        }

        $(
            mod $name {
                #[allow(unused_imports)]
                use std::collections::{BTreeMap, HashMap};

                $(
                    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
                    $item
                )*

                crate::subject::subject! { concat!("none+", stringify!($name)), $shown, $ty, [$($value),*] }
            }
        )*
    };
}

others! {
    transparent: "#[serde(transparent)] struct(Vec<u8>)", Held {
        #[serde(transparent)]
        pub(crate) struct Held(pub(crate) Vec<u8>);
    } [Held(vec![]), Held(vec![1, 2])]

    unit: "struct;", Held {
        pub(crate) struct Held;
    } [Held]

    tuple_struct: "struct(u8, String)", Held {
        pub(crate) struct Held(pub(crate) u8, pub(crate) String);
    } [Held(1, "x".to_owned())]

    from_into: "#[serde(from, into)]", Held {
        #[serde(from = "(u8, u16)", into = "(u8, u16)")]
        pub(crate) struct Held { pub(crate) a: u8, pub(crate) b: u16 }
    } [Held { a: 1, b: 2 }]

    try_from: "#[serde(try_from, into)]", Held {
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct Code(pub(crate) String);
        pub(crate) struct Held { pub(crate) code: Code, pub(crate) cents: i64, pub(crate) next: Option<Code>, pub(crate) tax: u8 }
    } [
        Held { code: Code("EUR".to_owned()), cents: -100, next: None, tax: 7 },
        Held { code: Code("CHF".to_owned()), cents: 1, next: Some(Code("USD".into())), tax: 0 },
    ]

    try_from_in_a_tuple: "(#[serde(try_from, into)], i64)", Pair {
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct Code(pub(crate) String);
        pub(crate) struct Pair(pub(crate) Code, pub(crate) i64);
    } [Pair(Code("EUR".to_owned()), -100)]

    flattened: "struct { #[serde(flatten)] struct }", Held {
        pub(crate) struct Inner { pub(crate) a: i32, pub(crate) b: Option<String>, pub(crate) c: Vec<u8> }
        pub(crate) struct Held {
            pub(crate) id: u64,
            #[serde(flatten)]
            pub(crate) inner: Inner,
            pub(crate) after: bool,
        }
    } [
        Held { id: 1, inner: Inner { a: -1, b: None, c: vec![] }, after: true },
        Held { id: u64::MAX, inner: Inner { a: 0, b: Some("x".into()), c: vec![1] }, after: false },
    ]

    flattened_map: "struct { #[serde(flatten)] HashMap<String, _> }", Held {
        pub(crate) struct Held {
            pub(crate) id: u64,
            #[serde(flatten)]
            pub(crate) rest: HashMap<String, i64>,
        }
    } [
        Held { id: 1, rest: HashMap::new() },
        Held { id: 2, rest: HashMap::from([("a".to_owned(), -1), ("b".to_owned(), 7)]) },
    ]

    flattened_option: "struct { #[serde(flatten)] Option<struct> }", Held {
        pub(crate) struct Inner { pub(crate) a: i32 }
        pub(crate) struct Held {
            pub(crate) id: u64,
            #[serde(flatten)]
            pub(crate) inner: Option<Inner>,
        }
    } [Held { id: 1, inner: None }, Held { id: 2, inner: Some(Inner { a: 1 }) }]

    flattened_enum: "struct { #[serde(flatten)] #[serde(tag)] enum }", Held {
        #[serde(tag = "kind")]
        pub(crate) enum Shape { Circle { r: f64 }, Square { side: f64 }, Nothing }
        pub(crate) struct Held {
            pub(crate) id: u64,
            #[serde(flatten)]
            pub(crate) shape: Shape,
        }
    } [
        Held { id: 1, shape: Shape::Circle { r: 0.5 } },
        Held { id: 2, shape: Shape::Square { side: f64::MAX } },
        Held { id: 3, shape: Shape::Nothing },
    ]

    flattened_strict: "#[serde(deny_unknown_fields)] in #[serde(flatten)]", Held {
        pub(crate) struct Inner {
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub(crate) list: Vec<String>,
        }
        pub(crate) struct Held {
            #[serde(flatten)]
            pub(crate) inner: Inner,
            pub(crate) map: BTreeMap<String, Option<u8>>,
        }
    } [
        Held { inner: Inner { list: vec![] }, map: BTreeMap::new() },
        Held { inner: Inner { list: vec!["x".into()] }, map: BTreeMap::from([("k".into(), None)]) },
    ]

    other_variant: "enum { #[serde(other)] Unit }", Held {
        #[serde(tag = "t")]
        pub(crate) enum Held { A { x: u8 }, #[serde(other)] Rest }
    } [Held::A { x: 1 }, Held::Rest]

    untagged_variant: "enum { #[serde(untagged)] variant }", Held {
        pub(crate) enum Held { Known, Number(u8), #[serde(untagged)] Text(String) }
    } [Held::Known, Held::Number(1), Held::Text("free".to_owned())]

    skipped_variant: "enum { #[serde(skip)] variant }", Held {
        pub(crate) enum Held { A, #[serde(skip)] #[allow(dead_code)] Hidden, B(u8), C }
    } [Held::A, Held::B(7), Held::C]

    recursive: "enum that contains itself, #[serde(untagged)]", Tree {
        #[serde(untagged)]
        pub(crate) enum Tree { Leaf(i64), Named { name: String, of: Box<Tree> }, List(Vec<Tree>) }
    } [
        Tree::Leaf(-1),
        Tree::List(vec![Tree::Leaf(1), Tree::List(vec![])]),
        Tree::Named { name: "n".into(), of: Box::new(Tree::Leaf(2)) },
    ]

    skip_deserializing_without_default: "enum variant written, not read", Held {
        pub(crate) struct Held { pub(crate) a: u8, #[serde(rename(serialize = "b", deserialize = "c"), skip_serializing_if = "Vec::is_empty")] pub(crate) list: Vec<u8> }
    } [Held { a: 1, list: vec![1] }]

    skipped_without_default: "#[serde(skip_serializing_if)] without #[serde(default)]", Held {
        pub(crate) struct Held { pub(crate) a: u8, #[serde(skip_serializing_if = "Vec::is_empty")] pub(crate) list: Vec<u8> }
    } [Held { a: 1, list: vec![1] }]

    renamed_one_way_by_name: "#[serde(rename(serialize, deserialize))] beside #[serde(flatten)]", Held {
        pub(crate) struct Inner { pub(crate) a: i32 }
        pub(crate) struct Held {
            #[serde(rename(serialize = "x", deserialize = "y"))]
            pub(crate) id: u64,
            #[serde(flatten)]
            pub(crate) inner: Inner,
        }
    } [Held { id: 1, inner: Inner { a: 1 } }]
}

/// Conversions for those of the above that have some.
mod conversions {
    use super::{from_into, try_from, try_from_in_a_tuple};

    impl From<(u8, u16)> for from_into::Held {
        fn from((a, b): (u8, u16)) -> Self {
            Self { a, b }
        }
    }

    impl From<from_into::Held> for (u8, u16) {
        fn from(held: from_into::Held) -> Self {
            (held.a, held.b)
        }
    }

    macro_rules! code {
        ($($ty:ty)*) => {$(
            impl TryFrom<String> for $ty {
                type Error = String;

                fn try_from(text: String) -> Result<Self, String> {
                    let fits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
                    if fits { Ok(Self(text)) } else { Err("not three capitals".to_owned()) }
                }
            }

            impl From<$ty> for String {
                fn from(code: $ty) -> Self {
                    code.0
                }
            }
        )*};
    }

    code! { try_from::Code try_from_in_a_tuple::Code }
}

pub(crate) fn all() -> Vec<Subject> {
    structs().into_iter().chain(enums()).chain(others()).collect()
}
