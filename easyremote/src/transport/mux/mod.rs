//! The multiplexed stream: one QUIC stream that carries many small unary calls, written in batches.
//!
//! | file        | role                                                        |
//! |-------------|-------------------------------------------------------------|
//! | `driver`    | reads and writes one stream until it breaks                 |
//! | `writer`    | queue of outgoing messages: any thread adds, one task writes|
//! | `in_flight` | table of calls that wait for an answer or a release         |
//! | `client`    | the client's end: completes calls with their responses      |
//! | `overflow`  | responses that are too long for the multiplexed stream      |
//! | `loss`      | detects lossy connections, where calls use separate streams |

pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod in_flight;
mod loss;
pub(crate) mod overflow;
pub(crate) mod writer;
