//! Workarounds for quinn; each file states its reason.

pub(crate) mod congestion;
pub(crate) mod ids;
#[cfg(unix)]
pub(crate) mod socket;
