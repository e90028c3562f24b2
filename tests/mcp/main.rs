//! Functions as tools of agents: over a pair of byte streams, over HTTP, and with the protocol's own
//! client in Python.

mod agent;
mod calls;
mod lists;
mod offered;
mod python;
mod web;
