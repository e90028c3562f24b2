//! Compares values that have been written and read again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::schema::digest;

/// Returns the result of `try_sample`. A panic counts as success: such values fail when they are
/// sent.
pub(super) fn tried(try_sample: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(try_sample)).unwrap_or(Ok(()))
}

/// Returns the digest of two values, or an error if they serialize differently.
pub(super) fn same<T: Serialize>(one: &T, two: &T, human: bool) -> Result<u64, String> {
    let digest = |value| digest(value, human).map_err(|complaint| complaint.0);
    let (one, two) = (digest(one)?, digest(two)?);
    if one == two { Ok(one) } else { Err("it comes back as another value".to_owned()) }
}
