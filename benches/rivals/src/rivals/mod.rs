//! Those who are compared, a file each.

pub mod easyremote;
pub mod nats;
mod nodes;
pub mod quinn_direct;
pub mod quinn_lane;
pub mod quinn_relay;
mod quinn_stream;
pub mod tarpc;
pub mod tonic;
