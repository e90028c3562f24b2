//! Streams from nodes and to them: items, ends, errors, flow control.

mod cached;
mod downloads;
mod json_uploads;
#[macro_use]
mod operators;
mod progress;
mod resumable;
mod take;
mod through;
mod uploads;
mod windows;
