//! Families of calls, functions and faults: what holds for one of them holds for each, multiplexed and on
//! separate streams, typed and by name. `endurance` has those that take longer.
//!
//! With `KINDS_LONG=1` the runs that need time to show something are as long as those in which it
//! was seen first.

mod deadlines;
mod loss;
mod places;
mod revoked;
mod traced;
mod update;
mod waiting;
