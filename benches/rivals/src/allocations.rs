//! How often this process has asked for memory, in a build with the feature `allocations`.

/// What any process answers with its number.
pub const QUESTION: &str = "allocations";

#[cfg(feature = "allocations")]
mod counting {
    use std::alloc::System;

    use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

    pub const ARE_COUNTED: bool = true;

    #[global_allocator]
    static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

    pub fn so_far() -> usize {
        let stats = ALLOCATOR.stats();
        stats.allocations + stats.reallocations
    }
}

#[cfg(not(feature = "allocations"))]
mod counting {
    pub const ARE_COUNTED: bool = false;

    pub fn so_far() -> usize {
        0
    }
}

pub use self::counting::{ARE_COUNTED, so_far};
