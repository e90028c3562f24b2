//! What decoding one message may cost.

use serde::de::Error;

use crate::gauge::MemoryCharge;

/// What decoding one message may still cost.
///
/// What has a fixed size costs nothing extra: the fields of a struct are a part of it.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Elements of sequences and entries of maps.
    elements: u64,
    /// Bytes of memory, not counting what the allocator adds and a collection keeps in reserve.
    memory: u64,
    /// Levels of nesting: options, structs, tuples, enums, sequences and maps in each other.
    pub(super) depth: u32,
    /// How many elements may still come.
    pub(super) elements_left: u64,
    /// How much memory may still be needed before the rest is asked for.
    memory_left: u64,
    /// The rest, which is charged in steps.
    memory_rest: u64,
    /// What the memory is charged to, if others share it.
    charge: Option<MemoryCharge>,
    /// Whether the others have left too little.
    no_room: bool,
}

impl Budget {
    /// A budget of so many elements, bytes of memory and levels of nesting.
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
        }
    }

    /// The budget for a message of `len` bytes, where `max_decoded` bytes of memory are spent on
    /// any one.
    ///
    /// | limit    | value                              | why                                      |
    /// |----------|------------------------------------|------------------------------------------|
    /// | elements | `len` + 65,536                     | an element takes at least a byte, unless |
    /// |          |                                    | its type is empty                        |
    /// | memory   | `max_decoded`, or 16 `len` if that | what is empty takes a byte of a message  |
    /// |          | is more                            | and any number in memory; small numbers  |
    /// |          |                                    | take a byte, whatever their type         |
    /// | depth    | 128                                | as `serde_json`: more than data has,     |
    /// |          |                                    | less than a stack has                    |
    pub(crate) fn for_message(len: usize, max_decoded: usize) -> Self {
        Self::new(max_elements(len), max_memory(len, max_decoded), MAX_DEPTH)
    }

    /// What has been charged.
    pub(crate) fn charged(&self) -> DecodeCost {
        DecodeCost {
            elements: self.elements - self.elements_left,
            memory: self.memory - self.memory_left - self.memory_rest,
        }
    }

    /// The same, whose memory is also charged to a budget that others share, but for the first
    /// `free` bytes, and no more than [`UNCHARGED`].
    pub(crate) fn charged_to(mut self, charge: Option<MemoryCharge>, free: u64) -> Self {
        if charge.is_some() {
            self.memory_left = self.memory.min(free).min(UNCHARGED);
            self.memory_rest = self.memory - self.memory_left;
        }
        Self { charge, ..self }
    }

    /// The charge for what has been decoded, once the message is gone.
    pub(crate) fn into_charge(self) -> Option<MemoryCharge> {
        let taken = self.charged().memory;
        let mut charge = self.charge?;
        if charge.bytes() > taken.saturating_add(UNCHARGED) {
            charge.set_to(usize::try_from(taken).unwrap_or(usize::MAX));
        }
        Some(charge)
    }

    /// Whether it was the others who had left too little.
    pub(crate) fn is_crowded(&self) -> bool {
        self.no_room
    }

    /// Charges a list of `n` elements of `size` bytes each, as decoding it one by one would.
    ///
    /// # Errors
    /// What it has too much of.
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

    /// Charges `n` bytes of memory, which are more than have been asked for.
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

    /// The error for too many elements.
    #[cold]
    #[inline(never)]
    fn too_many<E: Error>(&self) -> E {
        E::custom(format_args!("more than {} elements", self.elements))
    }

    /// The error for too much memory.
    #[cold]
    #[inline(never)]
    fn too_large<E: Error>(&self) -> E {
        E::custom(format_args!("needs more than {} MiB of memory", self.memory >> 20))
    }

    /// The error for too much nesting.
    #[cold]
    #[inline(never)]
    pub(super) fn too_deep<E: Error>(&self) -> E {
        E::custom(format_args!("nested deeper than {} levels", self.depth))
    }
}

/// What decoding one message takes, as its sender counts it.
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

    /// Adds what another message or a part of this one takes.
    pub(crate) fn add_cost(&mut self, other: Self) {
        self.elements += other.elements;
        self.memory += other.memory;
    }

    /// Whether a message of `len` bytes that takes this is decoded.
    ///
    /// # Errors
    /// Which limit it is above.
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

/// Bytes of a value that need not be charged: most values pay nothing for the room of large ones.
pub(crate) const UNCHARGED: u64 = 16 << 10;
/// Bytes that are charged at a time: a step costs as much as a hundred small values.
const STEP: u64 = 64 << 10;
/// Elements that need not take a byte of the message: units, empty structs. Each costs some
/// nanoseconds, so these are less than a millisecond.
const FREE_ELEMENTS: u64 = 65_536;
/// A `u128` is 16 bytes and takes one, if it is small.
const MEMORY_PER_BYTE: u64 = 16;
/// Every level is some stack frames of the decoder and of the type.
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
