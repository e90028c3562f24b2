//! Tests of types that do not accept every value, and of the limits.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroI128, NonZeroU32};

use serde::Deserialize;
use serde::de::{Deserializer, EnumAccess, Error as _, SeqAccess, VariantAccess, Visitor};

use super::super::TypeSchema;
use super::{Op, shown, trace};

#[test]
fn types_that_validate_their_input_are_passed() {
    assert_eq!(shown::<(NonZeroU32, NonZeroI128, u8)>(), "(u32, i128, u8)");
    assert_eq!(shown::<(IpAddr, u8)>(), "(enum IpAddr { V4((u8, u8, u8, u8)), V6([u8; 16]) }, u8)");
    assert!(!shown::<Vec<SocketAddr>>().contains('?'));
}

/// Accepts strings that parse as `T`.
#[derive(Deserialize)]
#[serde(try_from = "String", bound = "T: std::str::FromStr")]
struct Parsed<T>(PhantomData<T>);

impl<T: std::str::FromStr> TryFrom<String> for Parsed<T> {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<T>().map(|_| Self(PhantomData)).map_err(|_| format!("bad: {text}"))
    }
}

#[test]
fn validation_in_the_middle_of_a_struct_is_passed() {
    #[derive(Deserialize)]
    #[serde(try_from = "(u32, NonZeroU32, Vec<u8>)")]
    struct Range;
    impl TryFrom<(u32, NonZeroU32, Vec<u8>)> for Range {
        type Error = &'static str;
        fn try_from(of: (u32, NonZeroU32, Vec<u8>)) -> Result<Self, &'static str> {
            if of.0 > 1 && of.1.get() > of.0 { Ok(Self) } else { Err("empty") }
        }
    }
    #[derive(Deserialize)]
    #[serde(try_from = "(String, String, i8, Vec<u8>)")]
    struct Person;
    impl TryFrom<(String, String, i8, Vec<u8>)> for Person {
        type Error = &'static str;
        fn try_from(of: (String, String, i8, Vec<u8>)) -> Result<Self, &'static str> {
            let set = !of.0.is_empty() && of.1.contains('@') && of.2 > 0;
            if set { Ok(Self) } else { Err("not set") }
        }
    }
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct Job {
        id: Parsed<u16>,
        addresses: Vec<Parsed<SocketAddr>>,
        range: Range,
        owner: Person,
        after: Option<Parsed<bool>>,
    }
    assert_eq!(
        shown::<Job>(),
        "Job { id: String, addresses: Vec<String>, range: (u32, u32, Vec<u8>), \
         owner: (String, String, i8, Vec<u8>), after: Option<String> }"
    );
}

#[test]
fn a_type_that_accepts_nothing_hides_only_what_follows() {
    struct Unlikely;
    impl std::str::FromStr for Unlikely {
        type Err = ();
        fn from_str(text: &str) -> Result<Self, ()> {
            if text == "open sesame" { Ok(Self) } else { Err(()) }
        }
    }
    #[derive(Deserialize)]
    #[expect(dead_code)]
    enum Mixed {
        First(Parsed<Unlikely>, u8),
        Second(u16),
    }
    type Picky = Parsed<Unlikely>;
    assert_eq!(shown::<(u8, Picky, u8)>(), "(u8, String, ?)");
    // What can be empty, or something else, does not stand in the way.
    assert_eq!(
        shown::<(Option<Picky>, Vec<(Picky, u8)>, Mixed, u8)>(),
        "(Option<String>, Vec<(String, ?)>, enum Mixed { First(String, ?), Second(u16) }, u8)"
    );
    assert_eq!(shown::<(Vec<Op>, Picky)>(), "(Vec<".to_owned() + &shown::<Op>() + ">, String)");
}

#[test]
fn sequences_that_must_have_elements_are_passed() {
    #[derive(Deserialize)]
    #[serde(try_from = "Vec<u8>")]
    struct NonEmpty;
    impl TryFrom<Vec<u8>> for NonEmpty {
        type Error = &'static str;
        fn try_from(bytes: Vec<u8>) -> Result<Self, &'static str> {
            if bytes.is_empty() { Err("empty") } else { Ok(Self) }
        }
    }
    #[derive(Deserialize)]
    #[serde(try_from = "BTreeMap<u8, Option<u8>>")]
    struct AllSet;
    impl TryFrom<BTreeMap<u8, Option<u8>>> for AllSet {
        type Error = &'static str;
        fn try_from(of: BTreeMap<u8, Option<u8>>) -> Result<Self, &'static str> {
            if of.values().any(Option::is_some) { Ok(Self) } else { Err("none set") }
        }
    }
    assert_eq!(
        shown::<(NonEmpty, AllSet, Op)>(),
        "(Vec<u8>, Map<u8, Option<u8>>, ".to_owned() + &shown::<Op>() + ")"
    );
}

#[test]
fn one_of_two_options_of_one_type_may_have_to_be_set() {
    #[derive(Deserialize)]
    #[serde(try_from = "(Option<u8>, Option<u8>)")]
    struct Either;
    impl TryFrom<(Option<u8>, Option<u8>)> for Either {
        type Error = &'static str;
        fn try_from(of: (Option<u8>, Option<u8>)) -> Result<Self, &'static str> {
            if of.0.is_some() != of.1.is_some() { Ok(Self) } else { Err("both or none") }
        }
    }
    assert_eq!(shown::<(Either, u8)>(), "((Option<u8>, Option<u8>), u8)");
}

#[test]
fn what_only_a_self_describing_codec_can_read_is_any() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code)]
    enum Untagged {
        Number(u64),
        Text(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "t")]
    #[expect(dead_code)]
    enum Tagged {
        Only { a: u8 },
    }
    assert_eq!(shown::<(serde_json::Value, u8)>(), "(any, u8)");
    assert_eq!(shown::<(Untagged, u8)>(), "(any, u8)");
    assert_eq!(shown::<(Tagged, u8)>(), "({ t: any, a: any, .. }, u8)");
    assert_eq!(shown::<serde::de::IgnoredAny>(), "any");
}

#[test]
fn an_enum_of_hundreds_of_variants_is_complete() {
    /// Every variant contains the enum itself, but the last one.
    struct Wide;
    impl<'de> Deserialize<'de> for Wide {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_enum("Wide", &["V"; 300], Self)
        }
    }
    impl<'de> Visitor<'de> for Wide {
        type Value = Self;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a variant")
        }
        fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Self, A::Error> {
            match access.variant::<u32>()? {
                (299, variant) => variant.unit_variant().map(|()| self),
                (_, variant) => variant.newtype_variant::<(Self, u8)>().map(|_| self),
            }
        }
    }
    let TypeSchema::Enum("Wide", variants) = trace::<Wide>() else { panic!("no enum") };
    assert_eq!(variants.len(), 300);
    assert_eq!(shown::<Wide>().matches("V((Wide, u8)), ").count(), 299);
}

/// A hand-written `Deserialize` of what a derive would not ask for.
struct Custom<const KIND: u8>;

impl<'de, const KIND: u8> Deserialize<'de> for Custom<KIND> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match KIND {
            0 => deserializer.deserialize_tuple(100_000, All::<KIND>),
            1 => deserializer.deserialize_tuple(usize::MAX, All::<KIND>),
            2 => deserializer.deserialize_seq(All::<KIND>),
            3 => Err(D::Error::custom("never")),
            _ => <(Custom<2>, Custom<2>)>::deserialize(deserializer).map(|_| Self),
        }
    }
}

/// Reads all elements there are.
struct All<const KIND: u8>;

impl<'de, const KIND: u8> Visitor<'de> for All<KIND> {
    type Value = Custom<KIND>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("elements")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        match KIND {
            2 => while seq.next_element::<Custom<4>>()?.is_some() {},
            _ => while seq.next_element::<u16>()?.is_some() {},
        }
        Ok(Custom)
    }
}

#[test]
fn limits_end_the_tracing_of_hostile_types() {
    assert_eq!(shown::<(Custom<0>, u8)>(), "([u16; 100000], u8)");
    assert!(shown::<(Custom<1>, u8)>().ends_with(", ?)"));
    assert_eq!(shown::<Custom<2>>(), "Vec<(Vec<..>, Vec<..>)>");
    assert_eq!(shown::<(u8, Custom<3>, u8)>(), "(u8, ?, ?)");
    // 2^16 leaves of one type: more than a shape holds, and each is visited.
    type Two<T> = (T, T);
    type Four<T> = Two<Two<Two<Two<T>>>>;
    assert!(shown::<Four<Four<Four<Four<u8>>>>>().contains("(u8, u8)"));
}
