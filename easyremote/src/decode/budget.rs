//! What decoding one message may cost.

use serde::de::Error;

/// What decoding one message may still cost.
///
/// What has a fixed size costs nothing extra: the fields of a struct are a part of it.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Elements of sequences and entries of maps.
    elements: u64,
    /// Bytes of memory, not counting what the allocator adds and a collection keeps in reserve.
    memory: u64,
    /// Levels of nesting: options, structs, tuples, enums, sequences and maps in each other.
    pub(super) depth: u32,
    /// How many elements may still come.
    pub(super) elements_left: u64,
    /// How much memory may still be needed.
    memory_left: u64,
}

impl Budget {
    /// A budget of so many elements, bytes of memory and levels of nesting.
    pub(crate) fn new(elements: u64, memory: u64, depth: u32) -> Self {
        Self { elements, memory, depth, elements_left: elements, memory_left: memory }
    }

    /// The budget for a message of `len` bytes.
    ///
    /// | limit    | value            | why                                                        |
    /// |----------|------------------|------------------------------------------------------------|
    /// | elements | `len` + 65,536   | an element takes at least a byte, unless its type is empty |
    /// | memory   | 16 `len` + 4 MiB | small numbers take a byte, whatever their type; a `None`   |
    /// |          |                  | of a large type does too, so a short message may be sparse |
    /// | depth    | 128              | as `serde_json`: more than data has, less than a stack has |
    pub(crate) fn for_message(len: usize) -> Self {
        let len = len as u64;
        let elements = len.saturating_add(FREE_ELEMENTS);
        let memory = len.saturating_mul(MEMORY_PER_BYTE).saturating_add(FREE_MEMORY);
        Self::new(elements, memory, MAX_DEPTH)
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
            None => return Err(self.too_large()),
        }
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

/// Elements that need not take a byte of the message: units, empty structs. Each costs some
/// nanoseconds, so these are less than a millisecond.
const FREE_ELEMENTS: u64 = 65_536;
/// A `u128` is 16 bytes and takes one, if it is small.
const MEMORY_PER_BYTE: u64 = 16;
/// For messages with little data and much structure: no machine fails for it.
const FREE_MEMORY: u64 = 4 << 20;
/// Every level is some stack frames of the decoder and of the type.
const MAX_DEPTH: u32 = 128;
