//! Peers that keep no rules: attackers of a gateway, hostile gateways and hostile nodes. They are made
//! with quinn directly, from the wire as it is documented.

mod attacker;
mod costs;
mod floods;
mod gateways;
mod hoards;
mod impostor;
mod lanes;
mod limits;
mod memory;
mod nodes;
mod registrations;
mod resets;
mod rules;
mod siege;
mod target;
mod texts;
mod wire;
