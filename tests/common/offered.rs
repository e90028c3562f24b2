//! Remote functions that many tests share. To those tests they are functions of a dependency.

use easyremote::node::Functions;
use easyremote::{functions, remote};

use crate::say;

// Runs on a thread of the node.
#[remote]
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

// Says `started` to the probe with this key, and never returns.
#[remote]
pub async fn wait(key: u64) {
    say(key, "started");
    std::future::pending::<()>().await;
}

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
