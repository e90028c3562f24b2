//! What generated code uses. Not covered by any promise of compatibility.

pub use futures::Stream;

pub use crate::function::context::Context;
pub use crate::function::declared::{
    Implements, TheseArguments, ThisOperator, ThisResult, ThisStream, ThisUpload,
};
pub use crate::function::descriptor::Descriptor;
pub use crate::function::local::{Listed, Local, Served};
pub use crate::function::outcome::{
    Argument, Failure, Itself, Never, Outcome, Plain, Sent, Stages, Value,
};
pub use crate::function::remote::{
    Idempotent, Remote, RemoteOperator, RemoteStream, RemoteUnary, TakesItems,
};
pub use crate::function::signature::{Signature, SignatureCell};
pub use crate::function::signature_trace::{trace_operator, trace_stream, trace_unary};
pub use crate::function::text::{
    Displayed, ErrorsOf, Fallible, Shown, ShownError, Text, TextOfContainer, TextOfDisplay,
    TextOfError, TextOfNothing,
};
pub use crate::wire::kind::Kind;
pub use crate::{__client as client, __node as node};

pub use self::callers::*;
pub use self::nodes::*;

/// What `client!` items use.
#[cfg(feature = "client")]
mod callers {
    pub use crate::client::Client;
    pub use crate::client::call::{Call, call, call_with};
    pub use crate::client::instance::Instance;
    pub use crate::client::map::{Map, map};
    pub use crate::client::stream::through::{Applied, applied};
    pub use crate::client::stream::{StreamCall, stream_call, stream_call_with};
}
#[cfg(not(feature = "client"))]
mod callers {}

/// What `node!` items use.
#[cfg(feature = "node")]
mod nodes {
    pub use inventory;

    pub use crate::function::batch::{
        BatchInputs, BatchLimits, BatchReturn, Weight, async_batch, batch,
    };
    pub use crate::function::columns::Columns;
    pub use crate::function::handler::{
        Handler, Inputs, async_iterator, asynchronous, blocking, inline, iterator, stream,
    };
    pub use crate::function::operator::{OperatorArgument, copied, filtering, mapping};
    pub use crate::function::registered::{CrateId, Registered, functions_of, only};
    pub use crate::function::registry::{Function, Functions};
    pub use crate::function::states::State;
    pub use crate::function::stream_sink::StreamSink;
    pub use crate::function::upload::{Upload, Uploaded};
    pub use crate::{__home as home, __submit as submit};
}
#[cfg(not(feature = "node"))]
mod nodes {}

/// The type of an operator's `call`, in whose place the compiler reports a call of it.
#[derive(Debug)]
pub struct PassItToThrough;

/// Compiles only if `T` can be an argument.
pub const fn argument<T: Argument>() {}

/// Compiles only if `T` can be a result or an item.
pub const fn value<T: Value>() {}

/// Compiles only if `T` splits into value and failure.
pub const fn outcome<T: Outcome>() {}
