//! Remote functions of a dependency: those of this library are none of the tests that use it.

use easyremote::node::Functions;
use easyremote::{functions, remote};

/// Offered by this library, if a program asks it to.
#[remote]
pub fn of_the_library() -> String {
    "library".to_owned()
}

/// What the library offers.
pub fn functions() -> Functions {
    functions!()
}

/// What a macro of this library lists is that of the crate in which it is used.
#[macro_export]
macro_rules! functions_here {
    () => {
        easyremote::functions!()
    };
}
