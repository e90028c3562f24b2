//! Operators: what a node does with the items of a function before it sends them.
//!
//! ```text
//!   function --> stage 1 --> stage 2 --> .. --> gate --> writer
//!            <----------- polls from the end -----------
//! ```
//!
//! | module    | what is in it                                              |
//! |-----------|------------------------------------------------------------|
//! | [`applied`] | a function of the node that is applied to items             |
//! | [`piece`] | an item on its way: a value, or its encoding               |
//! | [`stage`] | what one operator does, and what it holds                  |
//! | [`stride`] | which items pass by their number                          |
//! | [`chain`] | all stages of a stream                                     |
//! | [`gate`]  | how far the stream may run ahead of its reader             |
//! | [`run`]   | the loop that polls a chain and writes what comes out of it |
//!
//! A stream without operators does not come here.

pub(crate) mod applied;
pub(crate) mod chain;
pub(crate) mod gate;
pub(crate) mod piece;
pub(crate) mod run;
mod stage;
pub(crate) mod stride;
#[cfg(test)]
mod tests;
