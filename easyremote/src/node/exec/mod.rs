//! Running calls: admission, execution, and the responses.

pub(super) mod admission;
mod call_guards;
mod clock;
pub(super) mod dedup;
mod mux;
mod overflow;
mod receive;
pub(super) mod streams;
mod task_pool;
mod work;
