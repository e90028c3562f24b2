//! One call from its start to its end: results, errors, deadlines, cancellation, retries, waiting in a
//! queue, on the multiplexed stream and on a separate one.

mod batches;
mod cancel;
mod chains;
mod errors;
mod hedge;
mod kinds;
mod multiplex;
mod nested;
mod on_all;
mod queue;
mod retry;
mod sync;
mod trace_context;
mod unary;
mod waiting;
