//! Calls that outlive their callers: jobs.

mod hostile;
mod lifetime;
mod owners;
mod processes;
mod results;
