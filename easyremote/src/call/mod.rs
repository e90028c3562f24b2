//! The rules of one call that client, gateway and node share.
//!
//! | module           | rule                                            |
//! |------------------|-------------------------------------------------|
//! | [`executed`]     | whether the function may have run               |
//! | [`deadline`]     | when the call expires                           |
//! | [`backoff`]      | how long to pause before the next attempt       |
//! | [`demand`]       | how many items the reader of a stream has taken |
//! | [`retry_budget`] | how many attempts may be added while calls fail |

pub(crate) mod backoff;
pub(crate) mod deadline;
pub(crate) mod demand;
pub(crate) mod executed;
pub(crate) mod retry_budget;
