//! Types with every attribute that changes what serde writes, and what becomes of their values.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ValueForm, ValueType};
use crate::wire::codec::Codec;

const MAX: usize = 1 << 20;

fn there_and_back<T: Serialize + DeserializeOwned + Send + 'static>(
    value: &T,
) -> Result<T, String> {
    let (of, mut bytes) = (ValueType::of::<T>(), Vec::new());
    of.encode(Codec::Bincode, value, &mut bytes, MAX)?;
    of.decode(&bytes, MAX)
}

#[track_caller]
fn arrives<T>(value: T)
where
    T: Serialize + DeserializeOwned + Send + Clone + PartialEq + Debug + 'static,
{
    assert_eq!(there_and_back(&value), Ok(value.clone()), "{:?}", ValueType::of::<T>());
    // In others, where a value beside it would be misread.
    let nested = (Some(value.clone()), vec![(value.clone(), 7_u8)], value.clone(), 3_i64);
    assert_eq!(there_and_back(&nested), Ok(nested.clone()));
    let map = BTreeMap::from([(1_u16, Ok::<_, u8>(value)), (2, Err(9))]);
    assert_eq!(there_and_back(&map), Ok(map.clone()));
}

#[track_caller]
fn form<T: Serialize + DeserializeOwned + Send + 'static>() -> &'static str {
    match ValueType::of::<T>().form {
        ValueForm::Positional(_) => "by position",
        ValueForm::ByName => "by name",
        ValueForm::Refused(_) => "not at all",
    }
}

macro_rules! data {
    ($($item:item)*) => {$(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        $item
    )*};
}

data! {
    struct Skipping {
        amount: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        discount: Option<u8>,
    }

    struct NoDefault {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
        after: u8,
    }

    #[serde(tag = "type")]
    enum Tagged { Unit, Struct { a: u8 }, Newtype(Inner) }

    #[serde(tag = "t", content = "c")]
    enum Adjacent { Unit, Tuple(u8, i64), Struct { a: Option<u8> } }

    #[serde(untagged)]
    enum Untagged { Number(u32), Text(String), Struct { a: u8 } }

    #[serde(untagged)]
    enum Ambiguous { Narrow(u32), Wide(u64) }

    struct Inner { x: i32, y: Option<String> }

    struct Flat {
        id: u64,
        #[serde(flatten)]
        inner: Inner,
    }

    struct Rest {
        id: u64,
        #[serde(flatten)]
        rest: HashMap<String, Value>,
    }

    struct Aliased {
        #[serde(alias = "years", alias = "a_first")]
        age: u32,
        name: String,
    }

    struct Plain { age: u32, name: String }

    enum AliasedVariant { #[serde(alias = "Uno", alias = "Aaa")] One, Two(u8) }

    enum Renamed { #[serde(rename(serialize = "x", deserialize = "y"))] One, Two }

    enum Shifted { One, #[serde(skip_deserializing)] Two, Three }

    struct Hidden { shown: u8, #[serde(skip)] hidden: Option<u8>, after: i64 }

    #[serde(default, rename_all = "camelCase")]
    struct Defaulted { some_field: u16, other_field: String }

    #[serde(deny_unknown_fields)]
    struct Strict { a: u8, b: Vec<Plain> }

    struct Wide { #[serde(flatten)] inner: Big }

    struct Big { n: u128 }

    struct Price { currency: Currency, cents: i64, tax: u8 }

    #[serde(try_from = "String", into = "String")]
    struct Currency(String);
}

impl Default for Defaulted {
    fn default() -> Self {
        Self { some_field: 7, other_field: "x".to_owned() }
    }
}

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if fits { Ok(Self(text)) } else { Err("not three capitals".to_owned()) }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0
    }
}

fn inner(y: Option<&str>) -> Inner {
    Inner { x: -7, y: y.map(str::to_owned) }
}

#[test]
fn what_is_left_out_arrives_all_the_same() {
    assert_eq!(form::<Skipping>(), "by name");
    for (amount, discount) in [(5, None), (0, Some(0)), (255, Some(255))] {
        arrives(Skipping { amount, discount });
    }
    arrives(vec![
        Skipping { amount: 5, discount: None },
        Skipping { amount: 0, discount: Some(0) },
    ]);
    arrives(Hidden { shown: 1, hidden: None, after: -9 });
    assert_eq!(form::<Hidden>(), "by position");
}

#[test]
fn what_cannot_come_back_is_refused_before_it_is_sent() {
    assert_eq!(form::<NoDefault>(), "not at all");
    let of = ValueType::of::<(u8, Option<NoDefault>)>().refused().unwrap();
    assert!(of.contains("NoDefault") && of.contains("missing field `list`"), "{of}");
    assert!(of.contains("#[serde(default)]"), "{of}");
}

#[test]
fn types_that_need_a_self_describing_codec_work() {
    for value in [Tagged::Unit, Tagged::Struct { a: 1 }, Tagged::Newtype(inner(Some("é")))] {
        arrives(value);
    }
    for value in [Adjacent::Unit, Adjacent::Tuple(1, -1), Adjacent::Struct { a: None }] {
        arrives(value);
    }
    for value in [Untagged::Number(1), Untagged::Text("1".into()), Untagged::Struct { a: 1 }] {
        arrives(value);
    }
    arrives(Flat { id: u64::MAX, inner: inner(None) });
    arrives(Flat { id: 0, inner: inner(Some("")) });
    let rest = HashMap::from([("a".to_owned(), json!([1, 2.5, null, {"b": "c"}]))]);
    arrives(Rest { id: 1, rest });
    arrives(json!({"a": [1, -1, 0.5, true, null, "x"], "b": {}, "": u64::MAX}));
    assert_eq!(form::<Value>(), "by name");
}

#[test]
fn a_value_that_would_arrive_as_another_one_is_an_error_at_the_sender() {
    arrives(Ambiguous::Narrow(5));
    arrives(Ambiguous::Wide(1 << 40));
    let refused = there_and_back(&Ambiguous::Wide(5)).unwrap_err();
    assert!(refused.contains("Ambiguous") && refused.contains("another value"), "{refused}");
    let refused = there_and_back(&Shifted::Two).unwrap_err();
    assert!(refused.contains("Two"), "{refused}");
    arrives(Shifted::One);
    arrives(Shifted::Three);
    assert!(there_and_back(&Some(Value::Null)).is_err());
    arrives(Some(json!(0)));
}

#[test]
fn aliases_are_no_fields_and_change_no_fingerprint() {
    let (with, without) = (ValueType::of::<Aliased>(), ValueType::of::<Plain>());
    assert_eq!(with.canonical.replace("Aliased", "Plain"), without.canonical);
    assert_eq!(with.text, "Aliased { age: u32, name: String }");
    assert_eq!(form::<Aliased>(), "by position");
    arrives(Aliased { age: 7, name: "x".into() });
    assert_eq!(ValueType::of::<AliasedVariant>().text, "enum AliasedVariant { One, Two(u8) }");
    assert_eq!(form::<AliasedVariant>(), "by position");
    arrives(AliasedVariant::One);
    arrives(AliasedVariant::Two(3));
}

#[test]
fn names_and_defaults_of_one_direction_work() {
    arrives(Renamed::One);
    arrives(Renamed::Two);
    arrives(Defaulted::default());
    arrives(Strict { a: 1, b: vec![Plain { age: 1, name: String::new() }] });
    assert_eq!(form::<Strict>(), "by position");
}

#[test]
fn types_behind_a_field_that_validates_are_known() {
    let of = ValueType::of::<Price>();
    assert_eq!(of.text, "Price { currency: String, cents: i64, tax: u8 }");
    assert_eq!(form::<Price>(), "by position");
    arrives(Price { currency: Currency("EUR".into()), cents: 100, tax: 7 });
    // Behind one without a name they are not, and the value is written with names and types.
    assert_eq!(form::<(Currency, i64)>(), "by name");
    arrives((Currency("EUR".to_owned()), -100_i64));
    let mut bytes = Vec::new();
    let value = (Currency("EUR".to_owned()), 100_i64);
    ValueType::of::<(Currency, i64)>().encode(Codec::Bincode, &value, &mut bytes, MAX).unwrap();
    let other = ValueType::of::<(Currency, u64)>().decode::<(Currency, u64)>(&bytes, MAX);
    assert!(other.unwrap_err().contains("another value"));
}

#[test]
fn what_serde_cannot_buffer_is_refused() {
    assert_eq!(form::<Wide>(), "not at all");
    assert_eq!(form::<Big>(), "by position");
}

#[test]
fn sets_are_compared_without_order() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Bag {
        #[serde(flatten)]
        inner: Sets,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Sets {
        set: HashSet<u32>,
        map: HashMap<String, u8>,
    }
    let map = (0..50_u8).map(|n| (n.to_string(), n)).collect();
    arrives(Bag { inner: Sets { set: (0..100).collect(), map } });
}

#[test]
fn a_type_that_panics_at_a_sample_is_known_as_far_as_it_can_be() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(from = "u8", into = "u8")]
    #[derive(Clone)]
    struct Picky(u8);
    impl From<u8> for Picky {
        fn from(n: u8) -> Self {
            assert_eq!(n, 200, "not 200");
            Self(n)
        }
    }
    impl From<Picky> for u8 {
        fn from(picky: Picky) -> Self {
            picky.0
        }
    }
    let back = there_and_back(&(Picky(200), 5_u16)).unwrap();
    assert_eq!((back.0.0, back.1), (200, 5));
}

#[test]
fn a_value_is_counted_before_it_is_sent_as_where_it_arrives() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Row {
        name: Option<String>,
        tags: Vec<String>,
        score: Option<f64>,
    }
    let rows = vec![Row::default(); 10_000];
    let (of, mut bytes) = (ValueType::of::<Vec<Row>>(), Vec::new());
    of.encode(Codec::Bincode, &rows, &mut bytes, 1 << 20).unwrap();
    assert_eq!(of.decode::<Vec<Row>>(&bytes, 1 << 20).unwrap(), rows);
    for max in [100_000, 600_000, 639_000, 641_000, 700_000] {
        let sent = of.encode(Codec::Bincode, &rows, &mut Vec::new(), max).is_ok();
        assert_eq!(sent, of.decode::<Vec<Row>>(&bytes, max).is_ok(), "{max}");
    }
    let refused = of.encode(Codec::Bincode, &rows, &mut Vec::new(), 100_000).unwrap_err();
    assert!(refused.contains("max_decoded"), "{refused}");
}
