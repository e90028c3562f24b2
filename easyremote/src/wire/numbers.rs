//! Lists of numbers of fixed width, such as `Vec<f32>`: copied in one piece, where serde would
//! visit them one by one.

use crate::decode::Budget;

/// A number that bincode writes as its little-endian bytes.
///
/// Not implemented for integers of several bytes, which have a variable length.
pub(crate) trait Number: Copy + 'static {
    /// Number of bytes.
    const WIDTH: usize;

    /// Writes the number to a `place` of that many bytes.
    fn put(self, place: &mut [u8]);

    /// Reads the number from that many bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Number for $number {
            const WIDTH: usize = size_of::<Self>();

            #[inline]
            fn put(self, place: &mut [u8]) {
                place.copy_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; Self::WIDTH];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    )*};
}

numbers! { i8 f32 f64 }

/// Appends all of `numbers`, without their count.
pub(crate) fn put<N: Number>(numbers: &[N], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + numbers.len() * N::WIDTH, 0);
    for (place, number) in out[start..].chunks_exact_mut(N::WIDTH).zip(numbers) {
        number.put(place);
    }
}

/// Reads `n` numbers from the front of `bytes`.
///
/// # Errors
/// If fewer have arrived, or the budget does not allow as many.
pub(crate) fn read<N: Number>(
    n: usize,
    bytes: &[u8],
    budget: &mut Budget,
) -> Result<Vec<N>, String> {
    budget.charge_list(n, size_of::<N>())?;
    let length = n.saturating_mul(N::WIDTH);
    let Some(bytes) = bytes.get(..length) else {
        return Err(format!("ends at least {} bytes too early", length - bytes.len()));
    };
    Ok(bytes.chunks_exact(N::WIDTH).map(N::read).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fmt::Debug;

    use bytes::Bytes;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::wire::codec::{Codec, from_bincode};
    use crate::wire::limits::DEFAULT_MAX_DECODED;
    use crate::wire::value::ValueType;

    fn encoded<T: Serialize + DeserializeOwned + Send + 'static>(value: &T) -> Vec<u8> {
        let (of, mut out) = (ValueType::of::<T>(), Vec::new());
        of.encode(Codec::Bincode, value, &mut out, DEFAULT_MAX_DECODED).unwrap();
        out
    }

    fn decoded<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
        Codec::Bincode.decode(&Bytes::copy_from_slice(bytes), DEFAULT_MAX_DECODED)
    }

    /// A list of another type is written and read one by one.
    fn same_as_one_by_one<N>(numbers: &[N])
    where
        N: Number + PartialEq + Debug + Serialize + DeserializeOwned + Send,
    {
        let (list, other) = (numbers.to_vec(), VecDeque::from(numbers.to_vec()));
        let message = encoded(&list);
        assert_eq!(message, encoded(&other));
        assert_eq!(decoded::<Vec<N>>(&message), Ok(list));
        for end in 0..message.len() {
            let (short, other) =
                (decoded::<Vec<N>>(&message[..end]), decoded::<VecDeque<N>>(&message[..end]));
            assert!(short.is_err() && other.is_err(), "{end} of {}", message.len());
        }
        let long = [&message[..], &[0]].concat();
        assert_eq!(
            decoded::<Vec<N>>(&long).unwrap_err(),
            decoded::<VecDeque<N>>(&long).unwrap_err()
        );
    }

    #[test]
    fn lists_of_numbers_look_as_if_they_were_written_one_by_one() {
        // Their lengths take one byte, and then three.
        for n in [0, 1, 3, 250, 251, 300] {
            let numbers = || (0..n).map(|i| i as f64 * 0.37 - 9.0);
            same_as_one_by_one(&numbers().collect::<Vec<f64>>());
            same_as_one_by_one(&numbers().map(|n| n as f32).collect::<Vec<f32>>());
            same_as_one_by_one(&numbers().map(|n| n as i8).collect::<Vec<i8>>());
        }
    }

    #[test]
    fn numbers_that_are_none_keep_their_bits() {
        let bits = [0x7fc0_0001, 0xffc1_2345, 0x8000_0000, 0x0000_0001, 0x7f80_0000];
        let numbers: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
        let back: Vec<f32> = decoded(&encoded(&numbers)).unwrap();
        assert_eq!(back.iter().map(|number| number.to_bits()).collect::<Vec<_>>(), bits);
    }

    #[test]
    fn a_list_that_is_not_there_is_refused_before_anything_is_allocated() {
        for n in [1 << 20, 1 << 62, u64::MAX] {
            let message = encoded(&n);
            let error = decoded::<Vec<f64>>(&message).unwrap_err();
            assert!(error.starts_with("more than"), "{n}: {error}");
            assert_eq!(error, decoded::<VecDeque<f64>>(&message).unwrap_err());
        }
        let error = decoded::<Vec<f64>>(&encoded(&1_000_u64)).unwrap_err();
        assert_eq!(error, "ends at least 8000 bytes too early");
    }

    #[test]
    fn lists_of_one_message_share_its_budget() {
        let message = encoded(&vec![1.0_f32; 100]);
        let next = |budget: &mut Budget| -> Result<(Vec<f32>, usize), String> {
            from_bincode(&message, budget)
        };
        let mut budget = Budget::new(150, 1 << 20, 8);
        assert_eq!(next(&mut budget), Ok((vec![1.0; 100], message.len())));
        assert_eq!(next(&mut budget).unwrap_err(), "more than 150 elements");
        let mut budget = Budget::new(1_000, 600, 8);
        assert_eq!(next(&mut budget), Ok((vec![1.0; 100], message.len())));
        assert_eq!(next(&mut budget).unwrap_err(), "needs more than 0 MiB of memory");
    }
}
