//! What `#[remote]` and `functions!()` offer of a whole program. A binary by itself: `functions!()` lists
//! every function of the crate, so each function here is in a list of these tests.

mod functions;
mod surface;
