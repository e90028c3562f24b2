//! Targets that decode values with both codecs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decode::Budget;
use crate::function::arguments::{self, Arguments};
use crate::wire::codec::Codec;
use crate::wire::value::ValueType;

const MAX_DECODED: usize = 4 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Number(i128),
    Pair(Box<Tree>, Box<Tree>),
    Named { name: String, children: Vec<Tree> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: Option<String>,
    tags: Vec<(char, bool, [u8; 3])>,
    after: Duration,
    nothing: (),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Empty {}

/// Checks that a value that decodes is equal after it is encoded and decoded again.
fn round_trip<T>(codec: Codec, bytes: &Bytes)
where
    T: Serialize + DeserializeOwned + Debug + PartialEq + Send + 'static,
{
    let of = ValueType::of::<T>();
    let decode = |bytes: &Bytes| match codec {
        Codec::Bincode => of.decode::<T>(bytes, MAX_DECODED),
        Codec::Json => codec.decode::<T>(bytes, MAX_DECODED),
        Codec::ByName | Codec::Lossy => {
            of.decode_as::<T>(codec, bytes, &mut Budget::for_message(bytes.len(), MAX_DECODED))
        }
    };
    let Ok(value) = decode(bytes) else { return };
    let mut out = Vec::new();
    // A value that was decoded within a limit must be within it when it is sent again.
    of.encode(codec, &value, &mut out, MAX_DECODED).unwrap();
    assert_eq!(decode(&out.into()), Ok(value));
}

/// Decodes a value: the first byte selects the type and the codec, the others are the message.
pub fn decode(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let codec = if choice & 0x80 == 0 { Codec::Bincode } else { Codec::Json };
    let bytes = &Bytes::copy_from_slice(data);
    match choice & 0x0f {
        0 => round_trip::<Chain>(codec, bytes),
        1 => round_trip::<Tree>(codec, bytes),
        2 => round_trip::<Vec<Row>>(codec, bytes),
        3 => round_trip::<Vec<()>>(codec, bytes),
        4 => round_trip::<Vec<Empty>>(codec, bytes),
        5 => round_trip::<HashMap<u32, Vec<u8>>>(codec, bytes),
        6 => round_trip::<BTreeMap<String, Tree>>(codec, bytes),
        7 => round_trip::<HashMap<(), ()>>(codec, bytes),
        8 => round_trip::<Vec<u8>>(codec, bytes),
        9 => round_trip::<String>(codec, bytes),
        10 => round_trip::<Result<u128, Vec<Option<i16>>>>(codec, bytes),
        11 => round_trip::<Vec<Vec<Vec<()>>>>(codec, bytes),
        12 => round_trip::<std::net::SocketAddr>(codec, bytes),
        13 => round_trip::<std::ffi::CString>(codec, bytes),
        14 => round_trip::<Bytes>(codec, bytes),
        _ => round_trip::<(u8, i64, Box<[u16]>)>(codec, bytes),
    }
}

/// Arguments of these names in JSON.
fn in_json<A: Arguments>(bytes: &Bytes, names: &'static [&'static str]) -> Result<A, String> {
    let mut budget = Budget::for_message(bytes.len(), MAX_DECODED);
    arguments::decode(Codec::Json, bytes, names, &[], &mut budget)
}

/// Decodes arguments in JSON, as an array or as an object.
pub fn json(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let decoded = in_json::<(u8, Tree)>(&bytes, &["a", "b"]);
    if let Ok((a, b)) = decoded {
        let again = serde_json::to_vec(&(a, &b)).unwrap().into();
        assert_eq!(in_json(&again, &["a", "b"]), Ok((a, b)));
    }
    let _ = in_json::<()>(&bytes, &[]);
    let _ = in_json::<(serde_json::Value,)>(&bytes, &["a"]);
}
