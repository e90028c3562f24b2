//! Streams from nodes and to them: items, ends, errors, flow control.

mod downloads;
mod operators;
mod take;
mod uploads;
mod windows;
