//! What quinn lacks, each file with its reason.

pub(crate) mod congestion;
pub(crate) mod ids;
#[cfg(unix)]
pub(crate) mod socket;
