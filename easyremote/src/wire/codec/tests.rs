//! Tests of decoding within a budget, over bincode and JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CString;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Codec, from_bincode as from_bincode_prefix};
use crate::decode::{Bounded, BoundedSeed, Budget};

const MAX_DECODED: usize = 4 << 20;

fn from_bincode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    Codec::Bincode.decode(&bytes.to_vec().into(), MAX_DECODED)
}

fn from_json<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    Codec::Json.decode(&bytes.to_vec().into(), MAX_DECODED)
}

/// The bincode text of a value.
fn bincode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).unwrap()
}

/// Checks that a value arrives as it was, from both codecs.
fn round_trip<T: Serialize + DeserializeOwned + 'static + PartialEq + Debug>(value: T) {
    let bytes = bincode(&value);
    assert_eq!(from_bincode::<T>(&bytes).unwrap(), value);
    let bytes = serde_json::to_vec(&value).unwrap();
    assert_eq!(from_json::<T>(&bytes).unwrap(), value);
}

/// The error of a bincode message.
fn error<T: DeserializeOwned + 'static>(bytes: &[u8]) -> String {
    from_bincode::<T>(bytes).err().map(|error| error.to_string()).unwrap_or_default()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: String,
    tags: Vec<Option<i16>>,
    at: (f32, f64, [u8; 4]),
    op: Op,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Op {
    Stop,
    Move(i128),
    Turn(u8, char),
    Call { name: String, args: Vec<Op> },
}

/// One level of nesting each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Nest {
    End,
    More(Box<Nest>),
}

/// One level of nesting each, too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Chain(Option<Box<Chain>>);

impl Nest {
    /// A value of `depth` levels.
    fn new(depth: u32) -> Self {
        (1..depth).fold(Self::End, |inner, _| Self::More(Box::new(inner)))
    }
}

fn row() -> Row {
    let args = vec![Op::Stop, Op::Move(-1 << 100), Op::Turn(7, 'ß')];
    Row {
        id: u64::MAX,
        name: "ein Name".to_owned(),
        tags: vec![None, Some(-3)],
        at: (1.5, -2.5, [1, 2, 3, 4]),
        op: Op::Call { name: String::new(), args },
    }
}

#[test]
fn values_arrive_as_they_were() {
    round_trip(vec![row(), row()]);
    round_trip(BTreeMap::from([("a".to_owned(), row()), (String::new(), row())]));
    round_trip(HashMap::from([(1u8, vec!["x".to_owned()]), (2, vec![])]));
    round_trip(HashSet::from([-1i64, 0, 1 << 40]));
    round_trip((u128::MAX, i128::MIN, (), Some(Some(false)), 'x'));
    round_trip(Duration::new(3, 4));
    round_trip(PathBuf::from("/a/b"));
    round_trip("::1".parse::<IpAddr>().unwrap());
    round_trip(CString::from(c"bytes"));
    round_trip(Cow::Borrowed("owned"));
    round_trip(Ok::<Row, String>(row()));
    round_trip(vec![0.5f32; 100_000]);
}

#[test]
fn json_describes_itself() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Names(Vec<String>),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, Untagged>,
    }
    let text = br#"{"a":1,"b":2,"c":["d","e"]}"#;
    assert_eq!(from_json::<Flat>(text).unwrap(), serde_json::from_slice::<Flat>(text).unwrap());
    let value = from_json::<serde_json::Value>(text).unwrap();
    assert_eq!(serde_json::to_vec(&value).unwrap(), text);
    // A field that is not known is skipped, whatever it is.
    assert_eq!(from_json::<Duration>(br#"{"secs":1,"x":[[{}]],"nanos":2}"#).ok(), None);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Only {
        a: u8,
    }
    assert_eq!(from_json::<Only>(br#"{"x":[[{}]],"a":2} "#).unwrap(), Only { a: 2 });
}

#[test]
fn strings_and_buffers_can_be_borrowed() {
    let bytes = bincode(&("text", serde_json::json!(["a"]).to_string()));
    let mut budget = Budget::for_message(bytes.len(), MAX_DECODED);
    let seed = BoundedSeed::<(&str, &str)> { budget: &mut budget, value: Default::default() };
    let config = bincode::config::standard();
    let (value, used) = bincode::serde::seed_decode_from_slice(seed, &bytes, config).unwrap();
    assert_eq!((value, used), (("text", r#"["a"]"#), bytes.len()));
}

#[test]
fn whether_a_codec_is_for_people_is_passed_on() {
    // An address is a string for people and numbers otherwise.
    let address = "127.0.0.1".parse::<IpAddr>().unwrap();
    assert_eq!(from_json::<IpAddr>(br#""127.0.0.1""#).unwrap(), address);
    assert_eq!(from_bincode::<IpAddr>(&[0, 127, 0, 0, 1]).unwrap(), address);
}

#[test]
fn endless_units_are_refused() {
    let mut bytes = vec![253];
    bytes.extend([0xff; 8]);
    assert_eq!(error::<Vec<()>>(&bytes), "more than 65545 elements");
    assert_eq!(error::<Vec<Vec<()>>>(&bytes), "more than 65545 elements");
    assert_eq!(error::<HashMap<(), ()>>(&bytes), "more than 65545 elements");
    let inner = [vec![1], bytes].concat();
    assert_eq!(error::<(u8, Vec<[(); 3]>)>(&inner), "more than 65546 elements");
}

#[test]
fn lengths_beyond_the_message_do_not_allocate() {
    for length in [1u64 << 40, u64::MAX] {
        let bytes = bincode(&length);
        assert!(error::<String>(&bytes).starts_with("ends at least"));
        assert!(error::<CString>(&bytes).starts_with("ends at least"));
        assert_eq!(error::<Vec<u64>>(&bytes), "more than 65545 elements");
        assert!(error::<HashMap<u64, String>>(&bytes).starts_with("ends at least"));
    }
}

#[test]
fn empty_containers_are_charged_for_their_size() {
    const N: usize = 4 << 20;
    let bytes = [bincode(&N), vec![0; N]].concat();
    assert_eq!(error::<Vec<Vec<u8>>>(&bytes), "needs more than 64 MiB of memory");
    assert_eq!(error::<Vec<Option<[u64; 32]>>>(&bytes), "needs more than 64 MiB of memory");
    // A box is a pointer to its owner, but its content takes memory.
    #[derive(Deserialize)]
    #[expect(dead_code)]
    struct Large(Option<[u64; 32]>);
    assert_eq!(error::<Vec<Box<Large>>>(&bytes), "needs more than 64 MiB of memory");
    let text = [b"[".to_vec(), b"null,".repeat(N / 16), b"null]".to_vec()].concat();
    let error = from_json::<Vec<Option<[u64; 32]>>>(&text).unwrap_err();
    assert!(error.starts_with("needs more than 20 MiB of memory"), "{error}");
    let text = [b"[".to_vec(), b"[],".repeat(N / 3), b"[]]".to_vec()].concat();
    assert!(from_json::<Vec<[String; 0]>>(&text).is_ok());
    let error = from_json::<Vec<Vec<(String, String)>>>(&text[..90_000]).unwrap_err();
    assert!(error.to_string().starts_with("EOF while parsing"), "{error}");
}

#[test]
fn strings_and_buffers_are_charged_for_their_length() {
    fn fits<T: DeserializeOwned + 'static>(bytes: &[u8], memory: usize) -> bool {
        from_bincode_prefix::<T>(bytes, &mut Budget::new(10, memory as u64, 10)).is_ok()
    }
    let bytes = bincode(&"x".repeat(100));
    assert!(fits::<String>(&bytes, size_of::<String>() + 100));
    assert!(!fits::<String>(&bytes, size_of::<String>() + 99));
    assert!(fits::<Vec<u8>>(&bytes, size_of::<Vec<u8>>() + 100));
    assert!(!fits::<Vec<u8>>(&bytes, size_of::<Vec<u8>>() + 99));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = [1].repeat(50_000);
    assert_eq!(error::<Chain>(&deep), "nested deeper than 128 levels");
    assert_eq!(error::<Nest>(&deep), "nested deeper than 128 levels");
    for depth in [127, 128] {
        assert_eq!(from_bincode::<Nest>(&bincode(&Nest::new(depth))), Ok(Nest::new(depth)));
    }
    assert_eq!(error::<Nest>(&bincode(&Nest::new(129))), "nested deeper than 128 levels");
    assert_eq!(error::<Chain>(&[[1].repeat(128), vec![0]].concat()), "");
    let refused = [[1].repeat(129), vec![0]].concat();
    assert_eq!(error::<Chain>(&refused), "nested deeper than 128 levels");
}

#[test]
fn depth_is_released_on_the_way_up() {
    round_trip(vec![Nest::new(100); 1_000]);
    round_trip(vec![(Some(vec![Nest::new(50)]), Nest::new(100)); 10]);
}

#[test]
fn json_is_bounded_by_its_own_depth_first() {
    let deep = b"[".repeat(50_000);
    let error = from_json::<serde_json::Value>(&deep).unwrap_err();
    assert!(error.to_string().starts_with("recursion limit exceeded"), "{error}");
    // Newtypes are not nested in the text.
    let text = [b"[".repeat(126), b"]".repeat(126)].concat();
    assert!(from_json::<serde_json::Value>(&text).is_ok());
}

#[test]
fn sparse_data_is_accepted() {
    let nones: Vec<Option<[u8; 32]>> = vec![None; 10_000];
    round_trip(nones);
    let nones: Vec<Option<Box<Row>>> = vec![None; 10_000];
    round_trip(nones);
    let nones: Vec<Option<Row>> = vec![None; 10_000];
    assert!(size_of::<Row>() >= 100);
    round_trip(nones);
    round_trip(vec![(); 5_000]);
    round_trip(vec![vec![(); 100]; 50]);
    round_trip(vec![0u128; 300_000]);
    round_trip(vec![(1u64, 2u64, 3u64, 4u64, 5u64, 6u64, 7u64, 8u64); 100_000]);
    round_trip(vec![String::from("a"); 100_000]);
}

#[test]
fn bytes_left_over_are_refused() {
    assert_eq!(error::<u8>(&[1, 2, 3]), "2 bytes are left over after the value");
    assert_eq!(error::<()>(&[]), "");
    let error = from_json::<u8>(b"1 2").unwrap_err();
    assert_eq!(error.to_string(), "trailing characters at line 1 column 3");
}

#[test]
fn a_decoder_that_panics_is_an_error() {
    #[derive(Debug)]
    struct Bad;
    impl<'de> Deserialize<'de> for Bad {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let n = u8::deserialize(deserializer)?;
            panic!("as planned, at {n}");
        }
    }
    assert_eq!(from_bincode::<Vec<Bad>>(&[1, 2]).unwrap_err(), "decoding panicked");
    assert_eq!(from_json::<Bad>(b"3").unwrap_err(), "decoding panicked");
}

#[test]
fn a_message_of_several_values_shares_its_budget() {
    let bytes =
        [bincode(&"first"), bincode(&vec![(); 40_000]), bincode(&vec![(); 40_000])].concat();
    let mut budget = Budget::for_message(bytes.len(), MAX_DECODED);
    let (text, used) = from_bincode_prefix::<String>(&bytes, &mut budget).unwrap();
    assert_eq!((text.as_str(), used), ("first", 6));
    let (units, more) = from_bincode_prefix::<Vec<()>>(&bytes[used..], &mut budget).unwrap();
    assert_eq!(units.len(), 40_000);
    let error = from_bincode_prefix::<Vec<()>>(&bytes[used + more..], &mut budget).unwrap_err();
    assert_eq!(error.to_string(), "more than 65548 elements");
}

#[test]
fn errors_are_in_words() {
    assert_eq!(error::<bool>(&[2]), "a boolean cannot be 2");
    assert_eq!(error::<u64>(&[]), "ends at least 1 bytes too early");
    assert_eq!(error::<Option<u8>>(&[9]), "`Option<T>` has no variant 9");
    assert_eq!(error::<u16>(&[252, 0, 0, 0, 0]), "an integer is U32 where U16 is expected");
    assert!(error::<String>(&[1, 0xff]).starts_with("a string is not valid: invalid utf-8"));
    assert!(error::<Op>(&[4]).starts_with("invalid value: integer `4`, expected variant index"));
    assert_eq!(error::<serde_json::Value>(&[0]), "the type needs a self-describing codec");
}

/// Notes what a sequence is told to expect.
#[derive(Debug, PartialEq)]
struct Hint(Option<usize>);

impl<'de> Deserialize<'de> for Hint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hints;
        impl<'de> Visitor<'de> for Hints {
            type Value = Hint;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Hint, A::Error> {
                let hint = seq.size_hint();
                while seq.next_element::<u8>()?.is_some() {}
                if hint == Some(0) { Err(A::Error::custom("empty")) } else { Ok(Hint(hint)) }
            }
        }
        deserializer.deserialize_seq(Hints)
    }
}

#[test]
fn size_hints_are_capped() {
    assert_eq!(from_bincode(&bincode(&[7u8; 9].as_slice())), Ok(Hint(Some(9))));
    let mut budget = Budget::for_message(0, MAX_DECODED);
    let bytes = bincode(&vec![0u8; 70_000]);
    let capped = from_bincode_prefix::<Hint>(&bytes, &mut budget);
    assert_eq!(capped.unwrap_err().to_string(), "more than 65536 elements");
    budget = Budget::new(1, 100, 1);
    let text = b"[1]".as_slice();
    let mut json = serde_json::Deserializer::from_slice(text);
    assert_eq!(Hint::deserialize(Bounded::new(&mut json, &mut budget)).unwrap(), Hint(None));
}

/// Reads nothing, whatever it is told to expect.
struct Told(Option<usize>);

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Asks;
        impl<'de> Visitor<'de> for Asks {
            type Value = Told;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Told, A::Error> {
                Ok(Told(seq.size_hint()))
            }
        }
        deserializer.deserialize_seq(Asks)
    }
}

#[test]
fn nobody_is_told_to_expect_more_than_may_come() {
    let endless = bincode(&(1_u64 << 40));
    let mut budget = Budget::for_message(endless.len(), MAX_DECODED);
    let (Told(first), _) = from_bincode_prefix(&endless, &mut budget).unwrap();
    assert_eq!(first, Some(endless.len() + 65_536), "as many as the budget has");
    let mut budget = Budget::for_message(1 << 30, MAX_DECODED);
    let (Told(first), _) = from_bincode_prefix(&endless, &mut budget).unwrap();
    let inner = [vec![1], endless].concat();
    let (inner, _) = from_bincode_prefix::<Vec<Told>>(&inner, &mut budget).unwrap();
    assert!(inner[0].0 < first, "{first:?}, and then {:?}", inner[0].0);
}

#[test]
fn the_deepest_value_fits_a_small_stack() {
    let bytes = bincode(&vec![vec![Nest::new(126)]]);
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let decode = move || from_bincode::<Vec<Vec<Nest>>>(&bytes).is_ok();
    assert!(thread.spawn(decode).unwrap().join().unwrap());
}
