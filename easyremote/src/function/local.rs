//! The traits that `#[remote]` implements for a function whose body is here.

use crate::function::handler::Handler;
use crate::function::registry::{Function, Functions};
use crate::function::remote::Remote;

/// A remote function whose body is here, so that a node can offer it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function with a body",
    label = "a node cannot offer this",
    note = "put #[remote] on the function, and list it by its name: functions![add]",
    note = "a declaration has no body: list the function that implements it, \
            #[remote(implements = {Self})]"
)]
pub trait Local: Remote {
    /// What a node runs.
    fn handler() -> Handler;

    /// All that a node needs to offer it.
    #[must_use]
    fn function() -> Function {
        Function::new::<Self>(Self::handler())
    }
}

/// A method of a remote trait, as an implementation of it by `T` is served.
pub trait Served<T>: Remote {
    /// What a node runs.
    fn handler() -> Handler;

    /// All that a node needs to offer it.
    #[must_use]
    fn functions() -> Functions {
        Functions::from([Function::new::<Self>(Self::handler())])
    }
}

/// What can be listed in [`functions!`](crate::functions): a remote function, or all remote methods
/// of a type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function with a body, nor has it #[remote] methods",
    label = "a node cannot offer this",
    note = "put #[remote] on the function, and list it by its name: functions![add]",
    note = "or on an `impl` block, and list the type: functions![Model]",
    note = "or on a trait, and list who implements it: functions![EmbedderServer<Model>]",
    note = "a declaration has no body: list the function that implements it, \
            #[remote(implements = {Self})]"
)]
pub trait Listed {
    /// All that a node needs to offer it.
    fn functions() -> Functions;
}

#[diagnostic::do_not_recommend]
impl<F: Local> Listed for F {
    fn functions() -> Functions {
        Functions::from([F::function()])
    }
}
