//! The traits that `#[remote]` implements for a function with a body.

use crate::function::handler::Handler;
use crate::function::registry::{Function, Functions};
use crate::function::remote::Remote;

/// A remote function with a body, which a node can offer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function with a body",
    label = "a node cannot offer this",
    note = "put #[remote] on the function, and list it by its name: functions![add]",
    note = "a declaration has no body: list the function that implements it, \
            #[remote(implements = {Self})]"
)]
pub trait Local: Remote {
    /// Returns the handler that a node runs.
    fn handler() -> Handler;

    /// Returns the function, ready to be offered.
    #[must_use]
    fn function() -> Function {
        Function::new::<Self>(Self::handler())
    }
}

/// A method of a remote trait, as `T` implements it.
pub trait Served<T>: Remote {
    /// Returns the handler that a node runs.
    fn handler() -> Handler;

    /// Returns the method, ready to be offered.
    #[must_use]
    fn functions() -> Functions {
        Functions::from([Function::new::<Self>(Self::handler())])
    }
}

/// An entry of [`functions!`](crate::functions): a remote function, or all remote methods of a
/// type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function with a body, nor has it #[remote] methods",
    label = "a node cannot offer this",
    note = "put #[remote] on the function, and list it by its name: functions![add]",
    note = "or on an `impl` block, and list the type: functions![Model]",
    note = "or on a trait, and list its implementation: functions![EmbedderServer<Model>]",
    note = "a declaration has no body: list the function that implements it, \
            #[remote(implements = {Self})]"
)]
pub trait Listed {
    /// Returns the functions, ready to be offered.
    fn functions() -> Functions;
}

#[diagnostic::do_not_recommend]
impl<F: Local> Listed for F {
    fn functions() -> Functions {
        Functions::from([F::function()])
    }
}
