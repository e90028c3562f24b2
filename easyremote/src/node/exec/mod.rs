//! Executes calls.
//!
//! [`mux`] and [`streams`] read calls; from there every call takes the same path: [`admission`]
//! checks it, [`calls`] keeps it in one table with its deadline and acquires its permits, and
//! [`task_pool`] or a thread runs its function, or [`batch`] runs it together
//! with others. The response leaves through the call's
//! [`Responder`].
//!
//! [`Responder`]: table::Responder

mod admission;
pub(super) mod batch;
mod call_guards;
pub(super) mod calls;
mod clock;
pub(super) mod dedup;
mod inline_batch;
mod job;
mod kept_run;
mod mux;
mod observer;
mod receive;
pub(super) mod resumable;
pub(super) mod runs;
pub(super) mod streams;
mod table;
mod taken;
mod task_pool;
mod unread;
mod work;
