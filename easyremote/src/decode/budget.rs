//! The budget for decoding one message.

use serde::de::Error;

use crate::gauge::MemoryCharge;

/// The elements, memory and depth that decoding one message may take.
///
/// Parts of fixed size are not charged separately: the fields of a struct are a part of it.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Elements of sequences and entries of maps.
    elements: u64,
    /// Bytes of memory, without the allocator's overhead and the spare capacity of collections.
    memory: u64,
    /// Levels of nested options, structs, tuples, enums, sequences and maps.
    pub(super) depth: u32,
    /// Elements that are left.
    pub(super) elements_left: u64,
    /// Memory that is left of the current step.
    memory_left: u64,
    /// Memory that is left in further steps.
    memory_rest: u64,
    /// The shared budget that the memory is charged to as well.
    charge: Option<MemoryCharge>,
    /// Whether the shared budget had too little left.
    no_room: bool,
    /// Fields of the message that were left out.
    left_out: u64,
}

impl Budget {
    /// Creates a budget of elements, bytes of memory and levels of nesting.
    pub(crate) fn new(elements: u64, memory: u64, depth: u32) -> Self {
        Self {
            elements,
            memory,
            depth,
            elements_left: elements,
            memory_left: memory,
            memory_rest: 0,
            charge: None,
            no_room: false,
            left_out: 0,
        }
    }

    /// Returns the budget for a message of `len` bytes, where `max_decoded` is the limit of memory
    /// for one message.
    ///
    /// | limit    | value                              | why                                      |
    /// |----------|------------------------------------|------------------------------------------|
    /// | elements | `len` + 65,536                     | an element takes at least a byte, unless |
    /// |          |                                    | its type is empty                        |
    /// | memory   | `max_decoded`, or 16 `len` if that | an empty value may take one byte of the  |
    /// |          | is more                            | message and many in memory; a small      |
    /// |          |                                    | number of any type takes one byte        |
    /// | depth    | 128                                | as `serde_json`: more than data needs,   |
    /// |          |                                    | less than a stack allows                 |
    pub(crate) fn for_message(len: usize, max_decoded: usize) -> Self {
        Self::new(max_elements(len), max_memory(len, max_decoded), MAX_DEPTH)
    }

    /// Returns what has been charged.
    pub(crate) fn charged(&self) -> DecodeCost {
        DecodeCost {
            elements: self.elements - self.elements_left,
            memory: self.memory - self.memory_left - self.memory_rest,
        }
    }

    /// Also charges the memory to a shared budget, except the first `free` bytes, or
    /// [`UNCHARGED`] if that is less.
    pub(crate) fn charged_to(mut self, charge: Option<MemoryCharge>, free: u64) -> Self {
        if charge.is_some() {
            self.memory_left = self.memory.min(free).min(UNCHARGED);
            self.memory_rest = self.memory - self.memory_left;
        }
        Self { charge, ..self }
    }

    /// Returns the charge for the decoded value, which outlives the message.
    pub(crate) fn into_charge(self) -> Option<MemoryCharge> {
        let taken = self.charged().memory;
        let mut charge = self.charge?;
        if charge.bytes() > taken.saturating_add(UNCHARGED) {
            charge.set_to(usize::try_from(taken).unwrap_or(usize::MAX));
        }
        Some(charge)
    }

    /// Returns whether the shared budget was exhausted, and not this one.
    pub(crate) fn is_crowded(&self) -> bool {
        self.no_room
    }

    /// Notes fields of the message that were left out, because the type does not know them.
    pub(crate) fn note_left_out(&mut self, fields: u64) {
        self.left_out += fields;
    }

    /// Returns how many fields of the message were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Charges a list of `n` elements of `size` bytes each, as decoding it one by one would.
    ///
    /// # Errors
    /// Which limit is exceeded.
    pub(crate) fn charge_list(&mut self, n: usize, size: usize) -> Result<(), String> {
        let in_words = |error: serde::de::value::Error| error.to_string();
        self.charge_memory(size_of::<Vec<()>>()).map_err(in_words)?;
        self.charge_elements(n).map_err(in_words)?;
        self.charge_memory(n.saturating_mul(size)).map_err(in_words)
    }

    /// Charges `n` elements of a sequence or map.
    #[inline]
    pub(super) fn charge_elements<E: Error>(&mut self, n: usize) -> Result<(), E> {
        match self.elements_left.checked_sub(n as u64) {
            Some(left) => self.elements_left = left,
            None => return Err(self.too_many()),
        }
        Ok(())
    }

    /// Charges `n` bytes of memory.
    #[inline]
    pub(super) fn charge_memory<E: Error>(&mut self, n: usize) -> Result<(), E> {
        match self.memory_left.checked_sub(n as u64) {
            Some(left) => self.memory_left = left,
            None => return self.charge_rest(n as u64),
        }
        Ok(())
    }

    /// Charges `n` bytes of memory, which are more than the current step has left.
    #[cold]
    #[inline(never)]
    fn charge_rest<E: Error>(&mut self, n: u64) -> Result<(), E> {
        let missing = n - self.memory_left;
        if missing > self.memory_rest {
            return Err(self.too_large());
        }
        let step = missing.max(STEP).min(self.memory_rest);
        if !self.charge.as_mut().is_none_or(|charge| charge.try_add(step)) {
            self.no_room = true;
            return Err(E::custom("there is no room for it"));
        }
        self.memory_rest -= step;
        self.memory_left = self.memory_left + step - n;
        Ok(())
    }

    /// Returns the error for too many elements.
    #[cold]
    #[inline(never)]
    fn too_many<E: Error>(&self) -> E {
        E::custom(format_args!("more than {} elements", self.elements))
    }

    /// Returns the error for too much memory.
    #[cold]
    #[inline(never)]
    fn too_large<E: Error>(&self) -> E {
        E::custom(format_args!("needs more than {} MiB of memory", self.memory >> 20))
    }

    /// Returns the error for too much nesting.
    #[cold]
    #[inline(never)]
    pub(super) fn too_deep<E: Error>(&self) -> E {
        E::custom(format_args!("nested deeper than {} levels", self.depth))
    }
}

/// What decoding one message will take, as counted by its sender.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DecodeCost {
    elements: u64,
    memory: u64,
}

impl DecodeCost {
    /// Adds elements, and bytes of memory.
    #[inline]
    pub(crate) fn add(&mut self, elements: usize, memory: usize) {
        self.elements += elements as u64;
        self.memory += memory as u64;
    }

    /// Adds a list of `n` elements of `size` bytes each.
    pub(crate) fn add_list(&mut self, n: usize, size: usize) {
        self.add(n, size_of::<Vec<()>>() + n.saturating_mul(size));
    }

    /// Adds the cost of another message, or of a part of this one.
    pub(crate) fn add_cost(&mut self, other: Self) {
        self.elements += other.elements;
        self.memory += other.memory;
    }

    /// Checks that the receiver will decode a message of `len` bytes with this cost.
    ///
    /// # Errors
    /// Which limit it exceeds.
    pub(crate) fn check(&self, len: usize, max_decoded: usize) -> Result<(), String> {
        let (elements, memory) = (max_elements(len), max_memory(len, max_decoded));
        if self.elements > elements {
            let n = self.elements;
            return Err(format!("it has {n} elements, most of them empty; {elements} are decoded"));
        }
        if self.memory > memory {
            let (needs, limit) = (self.memory.div_ceil(1 << 20), memory >> 20);
            return Err(format!(
                "decoding it takes {needs} MiB of memory, and {limit} MiB are the limit; send it \
                 in pieces, as a stream, or raise `max_decoded` at both ends"
            ));
        }
        Ok(())
    }
}

fn max_elements(len: usize) -> u64 {
    (len as u64).saturating_add(FREE_ELEMENTS)
}

fn max_memory(len: usize, max_decoded: usize) -> u64 {
    (len as u64).saturating_mul(MEMORY_PER_BYTE).max(max_decoded as u64)
}

/// Bytes of a value that are not charged, so that small values do not touch the shared budget.
pub(crate) const UNCHARGED: u64 = 16 << 10;
/// Bytes that are charged to the shared budget at a time. One step takes as long as decoding a
/// hundred small values.
const STEP: u64 = 64 << 10;
/// Elements that may take no byte of the message: units, empty structs. Each takes some
/// nanoseconds, so that all of them take less than a millisecond.
const FREE_ELEMENTS: u64 = 65_536;
/// Factor between memory and message: a small `u128` takes 16 bytes of memory and one of the
/// message.
const MEMORY_PER_BYTE: u64 = 16;
/// Levels of nesting. Each level takes some stack frames of the decoder and of the type.
const MAX_DEPTH: u32 = 128;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde::de::value::Error;

    use super::*;

    #[test]
    fn what_is_decoded_is_charged_until_it_is_gone() {
        let shared = Arc::<AtomicU64>::default();
        let taken = || shared.load(Ordering::Relaxed);
        let message = |len| {
            let mut charge = MemoryCharge::new(&shared, 1 << 20);
            assert!(charge.grow_to(len));
            Budget::for_message(len, 4 << 20).charged_to(Some(charge), len as u64)
        };
        // A small one costs what its message does.
        let mut small = message(1_000);
        small.charge_memory::<Error>(1_000).unwrap();
        assert_eq!(taken(), 1_000);
        let small = small.into_charge();
        assert_eq!(taken(), 1_000);
        drop(small);
        // One that grows has both, and then only what it has become.
        let mut large = message(40_000);
        for _ in 0..100 {
            large.charge_memory::<Error>(5_000).unwrap();
        }
        assert!((540_000 - 16_384..620_000).contains(&taken()), "{}", taken());
        let large = large.into_charge();
        assert!((500_000..500_000 + STEP + UNCHARGED).contains(&taken()), "{}", taken());
        // Others find what is left, and leave it to others if that is too little.
        let mut refused = message(100_000);
        refused.charge_memory::<Error>(500_000).unwrap_err();
        assert!(refused.is_crowded());
        drop(refused);
        drop(large);
        assert_eq!(taken(), 0);
        // Its own budget is another matter.
        let mut bomb = message(10);
        bomb.charge_memory::<Error>(5 << 20).unwrap_err();
        assert!(!bomb.is_crowded());
    }
}
