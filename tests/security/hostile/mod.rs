//! Hostile peers against one limit or rule at a time. The floods of the `siege` binary have many at once.

mod demand;
mod functions;
mod gateways;
mod kept;
mod limits;
mod mux;
mod nodes;
mod registrations;
mod resets;
mod resume;
mod rules;
mod target;
mod texts;
mod uploads;
