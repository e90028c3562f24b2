//! What needs time to show: outages and noise on the way, restarts, calls that are given up, missed
//! deadlines, failing nodes, clocks, limits of half a minute.
//!
//! With `KINDS_LONG=1` families of calls take as long as the runs in which something was seen first.

mod clock;
mod cuts;
mod failing;
mod gateways;
mod given_up;
mod headers;
mod missed;
mod noise;
mod outage;
mod path;
mod processes;
mod restart;
mod waiting;
