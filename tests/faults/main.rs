//! Faults, and what callers see of them. Each row is shown by the test that is named; a name
//! that begins with `calls`, `campaign`, `endurance`, `promises` or `resources` is of that binary.
//!
//! | fault | a call that waits for a place | a call that runs | a stream | shown by |
//! |---|---|---|---|---|
//! | gateway ends | | `ConnectionLost` | items, `ConnectionLost` | `resources::by_a_gateway_that_shuts_down` |
//! | gateway killed | | `ConnectionLost` | items, `ConnectionLost` | `resources::by_a_gateway_that_is_killed` |
//! | and started again at its address | | `ConnectionLost`, `Maybe`, with the next packet | | `endurance::restart` |
//! | gateway drains, and another takes its place | waits for it, and for its nodes | goes on | goes on | `drain`, `promises::restarts` |
//! | node ends | | `NodeLost`, `Maybe` | items, `NodeLost` | `lifecycle`, `resources::by_a_node_that_shuts_down` |
//! | node killed | `NoNode`, `No` | `NodeLost`, `Maybe` | items, `NodeLost`, `Yes` | `endurance::processes::a_node_that_is_killed_is_given_up_and_replaced` |
//! | node stopped, goes on later | `NoNode`, `No` | `NodeLost`, `Maybe`; dropped by the node | items, `NodeLost`, `Yes`; dropped by the node | `endurance::processes::a_node_that_stops_is_given_up_and_comes_back_without_its_calls` |
//! | node drains | `Draining`, `No`, or another node | goes on | goes on | `calls::queue`, `drain`, `promises::restarts` |
//! | client killed | | dropped by the node | dropped by the node | `resources::by_a_client_that_is_killed` |
//! | no way between client and gateway, one way or both | | `ConnectionLost`, `Maybe`; dropped by the node | items, `ConnectionLost`, `Yes`; dropped by the node | `endurance::cuts::whoever_is_cut_off_is_given_up_by_everybody` |
//! | no way between node and gateway, one way or both | | `NodeLost`, `Maybe`; dropped by the node | items, `NodeLost`, `Yes`; dropped by the node | the same |
//! | outage of 6 s | | goes on | goes on | `endurance::cuts::calls_wait_for_the_end_of_a_short_outage_and_streams_go_on` |
//! | another address of client or node | | goes on | goes on | `endurance::cuts::a_peer_whose_address_changes_keeps_its_connection` |
//! | loss, corruption, duplicates, reordering, jitter, a slow link, a shorter MTU | | goes on | goes on | `endurance::noise` |
//! | datagrams of 1,200 bytes do not fit | no connection: `Unavailable`, `No` | | | `endurance::cuts::a_path_that_takes_no_quic_is_no_path` |
//! | caller leaves | | dropped by the node | dropped by the node | `calls::cancel`, `resources::by_a_consumer_that_drops_it` |
//! | deadline | `DeadlineExceeded` | `DeadlineExceeded`; dropped by the node | items, `DeadlineExceeded`; dropped by the node | `calls::queue`, `resources::by_a_deadline` |
//! | function panics | | `Panicked`, `Yes` | items, `Panicked`, `Yes` | `calls::errors`, `resources::by_its_own_end` |
//! | nobody reads | | | items, `SlowConsumer`, `Yes`; dropped by the node | `calls::waiting` |
//! | runtime of client or node is blocked | goes on | goes on | goes on | `promises::blocked` |
//! | overload | `Overloaded`, `No` | | | `calls::queue`, `lifecycle` |
//!
//! The same with several threads of the gateway: `threads`, and all tests with
//! `TEST_GATEWAY_THREADS`. Calls are made again only where that is safe: `calls::retry`. All of it
//! at once: `campaign`.

mod drain;
mod goodbye;
mod lifecycle;
mod proxy;
#[cfg(unix)]
mod signals;
#[cfg(target_os = "linux")]
mod threads;
