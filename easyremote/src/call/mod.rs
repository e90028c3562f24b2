//! The rules of one call that every party follows: whether its function may have run, when its time
//! is over, and when it may be attempted again.

pub(crate) mod backoff;
pub(crate) mod deadline;
pub(crate) mod executed;
pub(crate) mod retry_budget;
