//! Which node gets a call, and what clients and gateways know of nodes.

mod choice;
mod client_stats;
mod figures;
mod gauges;
mod load;
mod metrics;
mod needs;
mod registration;
mod tags;
