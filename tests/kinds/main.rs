//! Families of calls and faults that need time to show something: missed deadlines, failing nodes,
//! outages, several gateways, clocks. Shorter ones are in `calls::kinds`.
//!
//! With `KINDS_LONG=1` they take as long as the runs in which something was seen first.

mod clock;
mod failing;
mod gateways;
mod missed;
mod outage;
