//! Peers that keep no rules: attackers of a gateway, hostile gateways and hostile nodes. They are made
//! with quinn directly, from the wire as it is documented.

pub mod attacker;
pub mod impostor;
pub mod mux;
pub mod wire;
