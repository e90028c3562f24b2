//! What a program writes: functions, methods, traits and declarations, their options, arguments,
//! results and errors, calls by name, and the test kit.
// Of the lints of `quiet`, the one that is only for a whole crate.
#![deny(non_ascii_idents)]

mod api_crate;
mod declarations;
mod dynamic;
mod floors;
mod interop;
mod methods;
mod middleware;
mod mistakes;
mod options;
pub mod quiet;
mod remote_traits;
mod state;
mod testing;
mod testing_example;
mod testing_mock;
mod text_errors;
mod values;
