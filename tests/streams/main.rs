//! Streams from nodes and to them: items, ends, errors, flow control.

mod cached;
mod downloads;
#[macro_use]
mod operators;
mod progress;
mod resumable;
mod take;
mod through;
mod uploads;
mod windows;
