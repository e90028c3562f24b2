//! What a program writes: functions, methods, traits and declarations, their options, arguments,
//! results and errors, calls by name, and the test kit.

mod api_crate;
mod declarations;
mod dynamic;
mod floors;
mod interop;
mod methods;
mod middleware;
mod mistakes;
mod options;
mod remote_traits;
mod schemas;
mod state;
mod testing;
mod testing_example;
mod testing_mock;
mod text_errors;
mod tools;
mod values;
