//! The types of the standard library, and of crates that programs often send.

use crate::subject::Subject;

/// A module for each type.
macro_rules! types {
    ($($name:ident: $ty:ty = [$($value:expr),* $(,)?];)*) => {
        pub(crate) fn all() -> Vec<Subject> {
            vec![$($name::entry()),*, flattened_u128::entry()]
        }

        $(
            mod $name {
                #[allow(unused_imports)]
                use super::*;

                crate::subject::subject! {
                    concat!("crates/", stringify!($name)), stringify!($ty), $ty, [$($value),*]
                }
            }
        )*
    };
}

#[allow(unused_imports)]
use std::{
    borrow::Cow,
    collections::*,
    ffi::CString,
    net::*,
    num::*,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

#[allow(unused_imports)]
use serde_json::json;

types! {
    integers: (u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize) =
        [(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
         (255, -128, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN, u128::MAX,
          i128::MIN, 1 << 40, -1)];
    floats: (f32, f64) = [(0.0, -0.0), (f32::INFINITY, f64::MIN_POSITIVE)];
    chars: (char, bool, String) = [('ß', true, "é\0".to_owned())];
    units: ((), [u8; 0], Option<()>) = [((), [], None), ((), [], Some(()))];
    options: Option<Option<u8>> = [None, Some(None), Some(Some(3))];
    results: (Result<String, Option<u8>>, u8) =
        [(Ok("x".into()), 1), (Err(None), 2), (Err(Some(1)), 3)];
    vectors: (Vec<u8>, Vec<f32>, VecDeque<u16>, LinkedList<i8>) =
        [(vec![1, 2], vec![0.5], [7].into(), [-1].into())];
    sets: (BTreeSet<String>, HashSet<u64>) = [(["a".to_owned()].into(), [1, 2, 3].into())];
    maps: (BTreeMap<(u8, i8), String>, HashMap<char, Vec<u8>>) =
        [([((1, -1), "x".to_owned())].into(), [('c', vec![1])].into())];
    arrays: ([u16; 5], [String; 2]) = [([1, 2, 3, 4, 5], ["a".into(), "b".into()])];
    boxes: (Box<str>, Box<[u32]>, Box<Option<u8>>) = [("x".into(), [1].into(), Box::new(None))];
    cows: Cow<'static, str> = [Cow::Borrowed("x")];
    durations: Duration = [Duration::ZERO, Duration::MAX];
    times: SystemTime = [SystemTime::UNIX_EPOCH + Duration::new(1, 5)];
    addresses: (IpAddr, SocketAddr, Ipv6Addr) =
        [("1.2.3.4".parse().unwrap(), "[::1]:8".parse().unwrap(), Ipv6Addr::LOCALHOST)];
    paths: PathBuf = ["/a/b".into()];
    c_strings: CString = [CString::new("x").unwrap()];
    non_zero: (NonZeroU8, NonZeroI64, Option<NonZeroU32>) =
        [(NonZeroU8::MIN, NonZeroI64::MIN, None)];
    wrapping: (Wrapping<u8>, std::cmp::Reverse<i32>) = [(Wrapping(7), std::cmp::Reverse(-1))];
    ranges: (std::ops::Range<u8>, std::ops::RangeInclusive<i64>, std::ops::Bound<u8>) =
        [(1..5, -1..=1, std::ops::Bound::Excluded(3))];
    json_value: serde_json::Value =
        [json!(null), json!({"a": [1, -1, 0.5, u64::MAX, true, "x", {}]}), json!([[]])];
    json_number: serde_json::Number = [5.into(), (-5).into(), u64::MAX.into()];
    json_map: serde_json::Map<String, serde_json::Value> =
        [json!({"b": 1, "a": null}).as_object().unwrap().clone()];
    uuids: (uuid::Uuid, u8) = [(uuid::Uuid::from_u128(7), 1), (uuid::Uuid::max(), 2)];
    chrono_times: (chrono::DateTime<chrono::Utc>, chrono::NaiveDate, u8) =
        [(chrono::DateTime::UNIX_EPOCH, chrono::NaiveDate::MIN, 7)];
    chrono_others: (chrono::NaiveDateTime, chrono::NaiveTime, chrono::Weekday) =
        [(chrono::NaiveDateTime::default(), chrono::NaiveTime::MIN, chrono::Weekday::Sun)];
    time_times: (time::OffsetDateTime, time::Date, time::Duration, u8) =
        [(time::OffsetDateTime::UNIX_EPOCH, time::Date::MIN, time::Duration::MIN, 7)];
    decimals: rust_decimal::Decimal = ["0".parse().unwrap(), "-1.50".parse().unwrap()];
    decimals_inside: (rust_decimal::Decimal, i64) = [("12345.6789".parse().unwrap(), -7)];
    byte_bufs: (serde_bytes::ByteBuf, u8) = [(serde_bytes::ByteBuf::from(vec![0, 255]), 1)];
    bytes_bytes: (bytes::Bytes, u8) = [(bytes::Bytes::from_static(b"\0x"), 1)];
    index_maps: (indexmap::IndexMap<String, u8>, indexmap::IndexSet<i32>) =
        [([("b".to_owned(), 1), ("a".to_owned(), 2)].into(), [3, 1, 2].into())];
    small_vectors: smallvec::SmallVec<[u16; 4]> =
        [smallvec::smallvec![], smallvec::smallvec![1, 2, 3, 4, 5, 6]];
    urls: (url::Url, u8) = [("https://a.b/c?d=e".parse().unwrap(), 1)];
}

/// What serde itself cannot do.
mod flattened_u128 {
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Inner {
        pub(crate) n: u128,
    }

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Held {
        #[serde(flatten)]
        pub(crate) inner: Inner,
    }

    crate::subject::subject! {
        "crates/flattened_u128", "struct { #[serde(flatten)] struct { u128 } }", Held,
        [Held { inner: Inner { n: 1 } }]
    }
}
