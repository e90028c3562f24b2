//! Calls that outlive their callers: jobs, and those that share one run by their key.

mod hostile;
mod keys;
mod lifetime;
mod owners;
mod processes;
mod results;
