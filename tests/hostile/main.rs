//! Peers that keep no rules: attackers of a gateway, hostile gateways and hostile nodes. They are made
//! with quinn directly, from the wire as it is documented.

mod attacker;
mod gateways;
mod impostor;
mod limits;
mod nodes;
mod target;
mod wire;
