//! The spans of calls at the three roles, and what is logged inside of functions. A binary by itself:
//! the subscriber is the whole process's.

mod ends;
mod kinds;
mod recorder;
