//! Where the I/O of clients and nodes runs.
//!
//! The I/O of a role is a [`TaskSet`]: the drivers of its QUIC endpoint, and every task that touches
//! its streams. A process has one I/O thread for all of its roles ([`thread`]). The tasks of a role
//! run there, or on the runtime of the program, where no call has to wake another thread:
//!
//! ```text
//!                   wake-ups
//!                      v
//!   role's tasks -> TaskSet -- place: Program --> a task of the program's runtime
//!                      |                              | blocked, or ended
//!                      +------ place: Thread ---> the I/O thread takes over
//! ```
//!
//! A program that blocks its runtime must not lose its connections, so the I/O thread watches: when
//! the runtime has not run the tasks of a role for a moment although it was woken, the thread runs
//! them until the runtime does so again ([`takeover`]). Timers always belong to the I/O thread. A
//! socket is registered with the event queue of the runtime that currently runs the tasks.
//!
//! The tasks of a set take turns, like those of a current-thread runtime: only one place runs them
//! at a time, apart from the moment at which a runtime comes back.

pub(crate) mod farewell;
#[cfg(feature = "gateway")]
pub(crate) mod io_thread;
mod place;
pub(crate) mod role;
mod takeover;
mod task;
mod task_set;
mod thread;

pub use place::Io;
pub(crate) use task::{IoTask, spawn, yield_now};
pub(crate) use task_set::{TaskSet, current};
