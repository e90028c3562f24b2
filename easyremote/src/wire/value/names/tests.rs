//! Values of one type, read as another.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::*;
use crate::wire::limits::DEFAULT_MAX_DECODED;

trait Data: Serialize + DeserializeOwned + Send + PartialEq + Debug + 'static {}
impl<T: Serialize + DeserializeOwned + Send + PartialEq + Debug + 'static> Data for T {}

/// Returns what arrives of a value, and how many fields were left out; or the error of the sender or of
/// the reader.
fn read_as<A: Data, B: Data>(value: &A, lossy: bool) -> Result<(B, u64), String> {
    let (mut typed, mut named) = (Vec::new(), Vec::new());
    let of = ValueType::of::<A>();
    of.encode(Codec::Bincode, value, &mut typed, DEFAULT_MAX_DECODED)?;
    let taken = of.rewrite_by_name(&typed, &mut named, DEFAULT_MAX_DECODED)?;
    assert_eq!(taken, typed.len());
    let mut direct = Vec::new();
    of.encode(Codec::ByName, value, &mut direct, DEFAULT_MAX_DECODED)?;
    assert_eq!(direct.len(), named.len());
    let codec = if lossy { Codec::Lossy } else { Codec::ByName };
    let mut budget = Budget::for_message(named.len(), DEFAULT_MAX_DECODED);
    let value = ValueType::of::<B>().decode_as(codec, &named, &mut budget)?;
    Ok((value, budget.left_out()))
}

#[track_caller]
fn arrives<A: Data, B: Data>(value: A, expected: B) {
    assert_eq!(read_as::<A, B>(&value, false), Ok((expected, 0)), "{value:?}");
}

/// A value whose reader has no place for a part, which is at `place` and whose name or error has `part`.
#[track_caller]
fn refused<A: Data, B: Data>(value: A, part: &str) {
    let error = read_as::<A, B>(&value, false).unwrap_err();
    assert!(error.contains(part), "{value:?}: {error}");
}

#[track_caller]
fn left_out<A: Data, B: Data>(value: A, expected: B, fields: u64) {
    let error = read_as::<A, B>(&value, false).unwrap_err();
    assert!(error.contains("is unknown here"), "{error}");
    assert_eq!(read_as::<A, B>(&value, true), Ok((expected, fields)), "{value:?}");
}

macro_rules! data {
    ($($item:item)*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        $item
    )*};
}

data! {
    struct One { a: u8 }
    struct Two { b: Option<String>, a: u8 }
    struct Deep { list: Vec<BTreeMap<u16, One>> }
    struct Deeper { list: Vec<BTreeMap<u16, Two>> }
    #[serde(deny_unknown_fields)]
    struct Denying { a: u8 }
    enum Choice { Unit, Tuple(u8, u8), Struct { a: u8 }, Newtype(One) }
    enum Choices { Newtype(Two), Struct { b: Option<u8>, #[serde(alias = "c")] a: u8 }, Unit, Tuple(u8, u8), More }
    struct Flat { id: u8, #[serde(flatten)] one: One }
    struct Flatter { #[serde(flatten)] one: Two, #[serde(alias = "key")] id: u8 }
    #[serde(tag = "t")]
    enum Tagged { A { a: u8 }, B }
    #[serde(tag = "t")]
    enum TaggedMore { B, A { b: Option<u8>, a: u8 }, C }
    #[serde(untagged)]
    enum Untagged { One(One), Number(u64) }
    #[serde(untagged)]
    enum UntaggedMore { Two(Two), Number(u64) }
    struct Twice { x: Option<Option<u8>> }
}

fn two(b: Option<&str>) -> Two {
    Two { a: 7, b: b.map(str::to_owned) }
}

#[test]
fn values_arrive_as_they_were_sent() {
    arrives(f64::INFINITY, f64::INFINITY);
    arrives(u128::MAX, u128::MAX);
    arrives(i128::MIN, i128::MIN);
    arrives(u64::MAX, u128::from(u64::MAX));
    arrives(Bytes::from_static(b"\xff\x00"), Bytes::from_static(b"\xff\x00"));
    arrives(Bytes::from_static(b"\xff\x00"), vec![0xff_u8, 0]);
    arrives(vec![0xff_u8, 0], Bytes::from_static(b"\xff\x00"));
    arrives(BTreeMap::from([((1_u8, 'x'), 2_i64)]), BTreeMap::from([((1_u8, 'x'), 2_i64)]));
    arrives(BTreeMap::from([(1_u64, ())]), BTreeMap::from([(1_i8, ())]));
    arrives(HashSet::from([5_u8, 6]), BTreeSet::from([5_i32, 6]));
    arrives(0.1_f32, f64::from(0.1_f32));
    arrives(0.5_f64, 0.5_f32);
    arrives(3_u8, 3.0_f64);
    arrives(-1_i8, -1_i128);
    arrives(u64::MAX, i128::from(u64::MAX));
    arrives(7_u8, 7_u128);
    arrives("text".to_owned(), Some("text".to_owned()));
    let (nan, _) = read_as::<f64, f64>(&f64::NAN, false).map(|it| (it.0.is_nan(), 0)).unwrap();
    assert!(nan);
}

#[test]
fn what_would_arrive_as_another_value_is_refused() {
    refused::<_, f32>(0.1_f64, "no exact form");
    refused::<_, f32>(f64::MAX, "no exact form");
    refused::<_, f64>(u64::MAX, "no exact form");
    refused::<_, f64>(i64::MAX, "no exact form");
    refused::<_, u8>(256_u16, "256");
    refused::<_, u8>(-1_i8, "-1");
    refused::<_, u128>(-1_i8, "negative");
    refused::<_, u128>(i64::MIN, "negative");
    refused::<_, u64>(u128::MAX, "");
    refused::<_, Option<f64>>("x".to_owned(), "another kind of value");
    refused::<_, Vec<u8>>("x".to_owned(), "invalid type");
    // By the sender: there is one form for both.
    refused::<_, Twice>(Twice { x: Some(None) }, "would not arrive");
    refused::<_, (u8, u8, u8)>((1_u8, 2_u8), "");
    refused::<_, (u8,)>((1_u8, 2_u8), "");
}

#[test]
fn fields_are_found_by_their_names() {
    arrives(One { a: 7 }, two(None));
    arrives(two(None), One { a: 7 });
    left_out(two(Some("x")), One { a: 7 }, 1);
    let (deep, deeper) = (|| One { a: 7 }, |b| two(b));
    let list = |one: One| Deep { list: vec![BTreeMap::new(), BTreeMap::from([(3, one)])] };
    let longer = |two: Two| Deeper { list: vec![BTreeMap::new(), BTreeMap::from([(3, two)])] };
    arrives(list(deep()), longer(deeper(None)));
    arrives(longer(deeper(None)), list(deep()));
    left_out(longer(deeper(Some("x"))), list(deep()), 1);
    refused::<_, Deep>(longer(deeper(Some("x"))), "at `list[1].3.b`");
    refused::<_, Denying>(two(Some("x")), "unknown field `b`");
    refused::<_, Denying>(two(None), "unknown field `b`");
}

#[test]
fn variants_are_found_by_their_names() {
    arrives(Choice::Unit, Choices::Unit);
    arrives(Choice::Tuple(1, 2), Choices::Tuple(1, 2));
    arrives(Choice::Struct { a: 1 }, Choices::Struct { b: None, a: 1 });
    arrives(Choice::Newtype(One { a: 7 }), Choices::Newtype(two(None)));
    arrives(Choices::Struct { b: None, a: 1 }, Choice::Struct { a: 1 });
    left_out(Choices::Struct { b: Some(2), a: 1 }, Choice::Struct { a: 1 }, 1);
    refused::<_, Choice>(Choices::Newtype(two(Some("x"))), "at `Newtype.b`");
    refused::<_, Choice>(Choices::More, "unknown variant `More`");
}

#[test]
fn what_serde_buffers_is_looked_at_as_well() {
    let one = One { a: 7 };
    arrives(Flat { id: 1, one: one.clone() }, Flatter { one: two(None), id: 1 });
    arrives(Flatter { one: two(None), id: 1 }, Flat { id: 1, one: one.clone() });
    left_out(Flatter { one: two(Some("x")), id: 1 }, Flat { id: 1, one: one.clone() }, 1);
    arrives(Tagged::A { a: 1 }, TaggedMore::A { b: None, a: 1 });
    arrives(Tagged::B, TaggedMore::B);
    arrives(TaggedMore::A { b: None, a: 1 }, Tagged::A { a: 1 });
    left_out(TaggedMore::A { b: Some(2), a: 1 }, Tagged::A { a: 1 }, 1);
    refused::<_, Tagged>(TaggedMore::C, "unknown variant");
    arrives(Untagged::Number(u64::MAX), UntaggedMore::Number(u64::MAX));
    arrives(Untagged::One(one.clone()), UntaggedMore::Two(two(None)));
    left_out(vec![UntaggedMore::Two(two(Some("x")))], vec![Untagged::One(one)], 1);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Key {
        key: u8,
        a: u8,
    }
    arrives(Key { key: 1, a: 7 }, Flatter { one: two(None), id: 1 });
    let any = serde_json::json!({"a": [1, {"b": null, "c": "x"}], "d": 0.5});
    arrives(any.clone(), any);
    refused::<_, serde_json::Value>(vec![f64::INFINITY], "read as nothing");
}

#[test]
fn bytes_that_are_no_value_are_an_error() {
    let mut named = Vec::new();
    let value = longer();
    ValueType::of::<Deeper>()
        .put_names(&value, &mut named, &mut DecodeCost::default(), 1 << 20)
        .unwrap();
    for to in 0..named.len() {
        let mut budget = Budget::for_message(to, 1 << 20);
        let read =
            ValueType::of::<Deep>().decode_as::<Deep>(Codec::ByName, &named[..to], &mut budget);
        assert!(read.is_err(), "{to}");
    }
    // Nests deeper than any value, where it is left out.
    let mut deep = vec![0x82, 0xa1, b'a', 7, 0xa1, b'z'];
    deep.extend([0x91; 100_000]);
    let mut bytes = (deep.len() as u32).to_le_bytes().to_vec();
    bytes.extend(&deep);
    for codec in [Codec::ByName, Codec::Lossy] {
        let mut budget = Budget::for_message(bytes.len(), 1 << 20);
        assert!(ValueType::of::<One>().decode_as::<One>(codec, &bytes, &mut budget).is_err());
        assert!(ValueType::of::<Tagged>().decode_as::<Tagged>(codec, &bytes, &mut budget).is_err());
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let mut bytes = named.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let mut budget = Budget::for_message(bytes.len(), 1 << 20);
        let _ = ValueType::of::<Flat>().decode_as::<Flat>(Codec::Lossy, &bytes, &mut budget);
        let _ = ValueType::of::<Deep>().decode_as::<Deep>(Codec::Lossy, &bytes, &mut budget);
        let of = ValueType::of::<Vec<Untagged>>();
        let _ = of.decode_as::<Vec<Untagged>>(Codec::ByName, &bytes, &mut budget);
    }
}

fn longer() -> Deeper {
    Deeper { list: vec![BTreeMap::new(), BTreeMap::from([(3, two(Some("x")))])] }
}
