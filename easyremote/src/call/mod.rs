//! The rules of one call that client, gateway and node share.
//!
//! | module           | rule                                            |
//! |------------------|-------------------------------------------------|
//! | [`executed`]     | whether the function may have run               |
//! | [`deadline`]     | when the call expires                           |
//! | [`backoff`]      | how long to pause before the next attempt       |
//! | [`demand`]       | how many items the reader of a stream has taken |
//! | [`retry_budget`] | how many attempts may be added while calls fail |
//! | [`hedge_budget`] | how many calls may be made twice                 |
//! | [`operator_mismatch`] | what an operator with other types is called  |
//!
//! And what is counted of calls: [`function_meter`], [`batch_meter`], [`histogram`].

pub(crate) mod backoff;
pub(crate) mod batch_meter;
pub(crate) mod deadline;
pub(crate) mod demand;
pub(crate) mod executed;
pub(crate) mod function_meter;
pub(crate) mod hedge_budget;
pub(crate) mod histogram;
pub(crate) mod operator_mismatch;
pub(crate) mod retry_budget;
