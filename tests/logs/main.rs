//! What is logged. A binary by itself, whose tests take turns: the subscriber of log lines, and whether
//! a line is worth making, are the whole process's.

mod refusals;
mod warnings;

/// Whose turn it is.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
