//! Decodes items that arrive as lists.

use std::sync::Arc;

use crate::decode::Budget;
use crate::function::outcome::Value;
use crate::wire::codec::{Codec, from_bincode};
use crate::wire::value::ValueType;

/// Decodes values of one type from the front of a message.
pub(super) trait ReadItem<T>: Send + Sync {
    /// Decodes a value. Returns it with the number of bytes that it took.
    ///
    /// # Errors
    /// If the bytes are invalid, or exceed the budget.
    fn read(&self, bytes: &[u8], codec: Codec, budget: &mut Budget) -> Result<(T, usize), String>;
}

/// Decodes the items of the function.
pub(super) struct SingleItem(pub(super) &'static ValueType);

impl<T: Value> ReadItem<T> for SingleItem {
    fn read(&self, bytes: &[u8], codec: Codec, budget: &mut Budget) -> Result<(T, usize), String> {
        match codec.is_by_name() {
            true => self.0.read_names(bytes, codec == Codec::Lossy, budget),
            false => self.0.read(bytes, budget),
        }
    }
}

/// Decodes lists of what `0` decodes: their number, then one after the other.
pub(super) struct ListOf<T>(pub(super) Arc<dyn ReadItem<T>>);

impl<T> ReadItem<Vec<T>> for ListOf<T> {
    fn read(
        &self,
        bytes: &[u8],
        codec: Codec,
        budget: &mut Budget,
    ) -> Result<(Vec<T>, usize), String> {
        let (n, mut at): (usize, _) = from_bincode(bytes, budget)?;
        // Before anything is allocated.
        budget.charge_list(n, size_of::<T>())?;
        let mut list = Vec::new();
        for _ in 0..n {
            let rest = bytes.get(at..).unwrap_or_default();
            let (item, length) = self.0.read(rest, codec, budget)?;
            list.push(item);
            at += length;
        }
        Ok((list, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::to_bincode;

    fn lists() -> ListOf<Vec<u32>> {
        let numbers = SingleItem(ValueType::of::<u32>());
        ListOf(Arc::new(ListOf::<u32>(Arc::new(numbers))))
    }

    fn read(bytes: &[u8]) -> Result<(Vec<Vec<u32>>, usize), String> {
        lists().read(bytes, Codec::Bincode, &mut Budget::for_message(bytes.len(), 1 << 20))
    }

    #[test]
    fn lists_of_lists_decode_as_serde_writes_them() {
        for lists in [vec![], vec![vec![]], vec![vec![1, 70_000], vec![], vec![3]]] {
            let mut bytes = Vec::new();
            to_bincode(&lists, &mut bytes).unwrap();
            let length = bytes.len();
            bytes.extend([7; 3]);
            assert_eq!(read(&bytes), Ok((lists, length)));
        }
    }

    #[test]
    fn a_list_that_is_longer_than_its_message_is_refused_before_it_is_made() {
        let mut bytes = Vec::new();
        to_bincode(&usize::MAX, &mut bytes).unwrap();
        assert!(read(&bytes).is_err());
        let mut bytes = Vec::new();
        to_bincode(&(1_usize << 40), &mut bytes).unwrap();
        let units = ListOf::<()>(Arc::new(SingleItem(ValueType::of::<()>())));
        let budget = &mut Budget::for_message(bytes.len(), 1 << 20);
        assert!(units.read(&bytes, Codec::Bincode, budget).is_err());
        assert!(read(&[3, 0]).is_err());
    }
}
