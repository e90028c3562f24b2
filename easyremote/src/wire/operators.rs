//! Operators: what a node does with the items of a stream before it sends them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::limits::{MAX_HEADER, MAX_NAME, MAX_OPERATORS, MAX_TIMEOUT};

/// One operator of a chain.
///
/// | code | operator  | parameters, each a varint                                |
/// |------|-----------|----------------------------------------------------------|
/// | 1    | `Take`    | items                                                    |
/// | 2    | `Skip`    | items                                                    |
/// | 3    | `Every`   | the step, at least 1                                     |
/// | 4    | `Sample`  | the interval in microseconds                             |
/// | 5    | `Latest`  |                                                          |
/// | 6    | `Dedup`   |                                                          |
/// | 7    | `Batches` | most items, at least 1; longest wait in microseconds     |
/// | 8    | `Buffer`  | bytes                                                    |
/// | 9    | `Through` | see [`AppliedFunction`]                                  |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// Ends the stream after that many items.
    Take(u64),
    /// Leaves out the first items.
    Skip(u64),
    /// Passes the first item, and then each one that is a multiple of the step behind it.
    Every(u64),
    /// Passes at most one item per interval, the newest.
    Sample(Duration),
    /// Passes the newest item when the reader has taken the last.
    Latest,
    /// Leaves out an item whose encoding equals the one before.
    Dedup,
    /// Passes lists of items instead of items.
    Batches {
        /// Most items of a list.
        items: u64,
        /// Longest time from the first item of a list until it is passed.
        wait: Duration,
    },
    /// Limits the bytes that are encoded and not taken.
    Buffer(u64),
    /// Passes what a `#[remote(operator)]` function makes of each item. Shared: a chain is copied for
    /// each attempt of a call.
    Through(Arc<AppliedFunction>),
}

/// A function of a node that is an operator of a stream, with the arguments of the caller.
///
/// | type    | field       | meaning                                              |
/// |---------|-------------|------------------------------------------------------|
/// | 8 bytes | fingerprint | of its types, big-endian; 0 if the caller knows none |
/// | string  | name        | its name                                             |
/// | bytes   | arguments   | in the codec of the call                             |
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AppliedFunction {
    pub(crate) name: String,
    pub(crate) fingerprint: u64,
    pub(crate) arguments: Vec<u8>,
}

/// Leaves out the arguments, which may be secrets.
impl fmt::Debug for AppliedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Operator {
    /// Returns whether it depends on what the reader has taken.
    pub(crate) fn needs_demand(&self) -> bool {
        matches!(self, Self::Latest | Self::Buffer(_))
    }

    /// Returns the function that it applies, if it applies one.
    pub(crate) fn applied(&self) -> Option<&Arc<AppliedFunction>> {
        match self {
            Self::Through(applied) => Some(applied),
            _ => None,
        }
    }

    /// Returns the mistake in its parameters, if there is one.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        match self {
            Self::Every(0) => Some("`every(0)`: the step is at least 1"),
            Self::Batches { items: 0, .. } => Some("`batches(0, _)`: a batch has at least 1 item"),
            _ => None,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut numbers = |code: u8, numbers: &[u64]| {
            out.push(code);
            numbers.iter().for_each(|&number| out.put_varint(number));
        };
        match *self {
            Self::Take(items) => numbers(1, &[items]),
            Self::Skip(items) => numbers(2, &[items]),
            Self::Every(step) => numbers(3, &[step]),
            Self::Sample(interval) => numbers(4, &[microseconds(interval)]),
            Self::Latest => numbers(5, &[]),
            Self::Dedup => numbers(6, &[]),
            Self::Batches { items, wait } => numbers(7, &[items, microseconds(wait)]),
            Self::Buffer(bytes) => numbers(8, &[bytes]),
            Self::Through(ref applied) => {
                out.push(9);
                applied.put(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code = reader.u8("operator")?;
        if code == 9 {
            return AppliedFunction::read(reader).map(|applied| Self::Through(Arc::new(applied)));
        }
        let mut number = |field| reader.varint(field);
        let operator = match code {
            1 => Self::Take(number("take")?),
            2 => Self::Skip(number("skip")?),
            3 => Self::Every(number("every")?),
            4 => Self::Sample(interval(number("sample")?)),
            5 => Self::Latest,
            6 => Self::Dedup,
            7 => Self::Batches { items: number("batches")?, wait: interval(number("batches")?) },
            8 => Self::Buffer(number("buffer")?),
            unknown => {
                let text = format!("the call asks for an unknown operator: code {unknown}");
                return Err(Malformed::unsupported(text));
            }
        };
        match operator.mistake() {
            Some(mistake) => Err(Malformed::new(mistake)),
            None => Ok(operator),
        }
    }
}

impl AppliedFunction {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fingerprint.to_be_bytes());
        out.put_bytes(self.name.as_bytes());
        out.put_bytes(&self.arguments);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let fingerprint = reader.u64("fingerprint of an operator")?;
        let name = reader.str(MAX_NAME, "name of an operator")?.to_owned();
        let arguments = reader.bytes(MAX_HEADER, "arguments of an operator")?.to_vec();
        Ok(Self { name, fingerprint, arguments })
    }
}

/// Returns the functions that a chain applies, in order.
pub(crate) fn applied_in(chain: &[Operator]) -> impl Iterator<Item = &Arc<AppliedFunction>> {
    chain.iter().filter_map(Operator::applied)
}

/// Appends a chain.
pub(crate) fn put_operators(chain: &[Operator], out: &mut Vec<u8>) {
    chain.iter().for_each(|operator| operator.put(out));
}

/// Decodes a chain that takes up all of `value`.
///
/// # Errors
/// If it is empty, has more than [`MAX_OPERATORS`], or a parameter is invalid.
pub(crate) fn read_operators(value: &[u8]) -> Result<Vec<Operator>, Malformed> {
    let (mut reader, mut chain) = (Reader::new(value), Vec::new());
    while !reader.is_empty() {
        if chain.len() == MAX_OPERATORS {
            return Err(Malformed::new(format!("more than {MAX_OPERATORS} operators")));
        }
        chain.push(Operator::read(&mut reader)?);
    }
    match chain.is_empty() {
        true => Err(Malformed::new("a chain without operators")),
        false => Ok(chain),
    }
}

/// Returns whole microseconds, rounded up.
fn microseconds(time: Duration) -> u64 {
    // A year has fewer than 2^45 microseconds.
    u64::try_from(time.min(MAX_TIMEOUT).as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn interval(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds).min(MAX_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::wire::bytes::MAX_VARINT;

    fn random() -> Operator {
        let number = || fastrand::u64(1..=MAX_VARINT);
        let time = || Duration::from_micros(fastrand::u64(0..1 << 44));
        match fastrand::u8(0..9) {
            0 => Operator::Take(number()),
            1 => Operator::Skip(number()),
            2 => Operator::Every(number()),
            3 => Operator::Sample(time()),
            4 => Operator::Latest,
            5 => Operator::Dedup,
            6 => Operator::Batches { items: number(), wait: time() },
            7 => Operator::Through(Arc::new(AppliedFunction {
                name: (0..fastrand::usize(0..=MAX_NAME))
                    .map(|_| fastrand::alphanumeric())
                    .collect(),
                fingerprint: fastrand::u64(..),
                arguments: (0..fastrand::usize(0..300)).map(|_| fastrand::u8(..)).collect(),
            })),
            _ => Operator::Buffer(number()),
        }
    }

    #[test]
    fn chains_survive_the_wire_and_no_cut_becomes_another_parameter() {
        fastrand::seed(7);
        for _ in 0..1_000 {
            let n = fastrand::usize(1..=MAX_OPERATORS);
            let chain: Vec<_> = (0..n).map(|_| random()).collect();
            let mut out = Vec::new();
            put_operators(&chain, &mut out);
            assert_eq!(read_operators(&out), Ok(chain.clone()));
            for end in 0..out.len() {
                if let Ok(cut) = read_operators(&out[..end]) {
                    assert_eq!(cut, chain[..cut.len()]);
                }
            }
        }
    }

    #[test]
    fn hostile_chains_are_refused() {
        for value in [
            &[][..],
            &[5; MAX_OPERATORS + 1],
            &[3, 0],
            &[7, 0, 0],
            &[7, 1],
            &[1],
            &[1, 0x40],
            &[8, 0xc0, 0, 0, 0, 0, 0, 0],
            &[9],
            &[9, 0, 0, 0, 0, 0, 0, 0, 7],
            &[9, 0, 0, 0, 0, 0, 0, 0, 7, 1, b'f'],
            &[9, 0, 0, 0, 0, 0, 0, 0, 7, 1, b'f', 2, 0],
            &[9, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0xff, 0],
            &[9, 0, 0, 0, 0, 0, 0, 0, 7, 0x40, MAX_NAME as u8 + 1],
            &[9, 0, 0, 0, 0, 0, 0, 0, 7, 1, b'f', 0x9f, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(read_operators(value).unwrap_err().kind, ErrorKind::Protocol, "{value:?}");
        }
        for code in [0, 10, 255] {
            let refused = read_operators(&[5, code, 1]).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
        }
        // Anything else decodes or does not, and never panics.
        fastrand::seed(8);
        for _ in 0..20_000 {
            let value: Vec<_> = (0..fastrand::usize(0..40)).map(|_| fastrand::u8(0..13)).collect();
            if let Ok(chain) = read_operators(&value) {
                assert!(chain.len() <= MAX_OPERATORS);
            }
        }
    }

    #[test]
    fn no_interval_is_longer_than_a_year() {
        let mut out = Vec::new();
        put_operators(&[Operator::Sample(Duration::MAX)], &mut out);
        assert_eq!(read_operators(&out), Ok(vec![Operator::Sample(MAX_TIMEOUT)]));
        let mut out = vec![4];
        out.put_varint(MAX_VARINT);
        assert_eq!(read_operators(&out), Ok(vec![Operator::Sample(MAX_TIMEOUT)]));
    }
}
