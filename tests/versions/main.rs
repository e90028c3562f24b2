//! Callers and nodes with different versions of a function's types: what works by name, what is
//! refused, and what is left out.

#[macro_use]
mod family;
mod by_name;
mod paths;
