//! The errors of functions that return a `Result`.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{Error, Executed};

/// The error of a call of a function that returns a `Result`: the function's own error, or the
/// error of the call.
///
/// ```
/// # use easyremote::{CallError, Client, Executed, Gateway, Node, functions, remote};
/// # #[remote]
/// # fn divide(a: i64, b: i64) -> Result<i64, String> {
/// #     a.checked_div(b).ok_or_else(|| "division by zero".into())
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![divide]);
/// # let _node = node.serve().await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// match divide::call(&client, 1, 0).await {
///     Ok(quotient) => println!("{quotient}"),
///     Err(CallError::Function(error)) => assert_eq!(error, "division by zero"),
///     Err(CallError::Remote(error)) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum CallError<E> {
    /// The function ran, and returned this error.
    Function(E),
    /// The call failed.
    Remote(Error),
}

impl<E> CallError<E> {
    /// Returns the function's own error, or `None` if the call itself failed.
    ///
    /// ```
    /// # use easyremote::{CallError, Client, Executed, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn divide(a: i64, b: i64) -> Result<i64, String> {
    /// #     a.checked_div(b).ok_or_else(|| "division by zero".into())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![divide]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = divide::call(&client, 1, 0).await.unwrap_err();
    /// assert_eq!(error.function().unwrap(), "division by zero");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn function(&self) -> Option<&E> {
        match self {
            Self::Function(error) => Some(error),
            Self::Remote(_) => None,
        }
    }

    /// Returns the error of the call, or `None` if the function returned its own error.
    ///
    /// ```
    /// # use easyremote::{CallError, Client, Executed, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn divide(a: i64, b: i64) -> Result<i64, String> {
    /// #     a.checked_div(b).ok_or_else(|| "division by zero".into())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![divide]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = divide::call(&client, 1, 0).await.unwrap_err();
    /// assert!(error.remote().is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn remote(&self) -> Option<&Error> {
        match self {
            Self::Function(_) => None,
            Self::Remote(error) => Some(error),
        }
    }

    /// Returns whether the function may have run: [`Executed::Yes`] if it returned its own error,
    /// otherwise [`Error::executed`].
    ///
    /// ```
    /// # use easyremote::{CallError, Client, Executed, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn divide(a: i64, b: i64) -> Result<i64, String> {
    /// #     a.checked_div(b).ok_or_else(|| "division by zero".into())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![divide]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = divide::call(&client, 1, 0).await.unwrap_err();
    /// assert_eq!(error.executed(), Executed::Yes);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::Function(_) => Executed::Yes,
            Self::Remote(error) => error.executed(),
        }
    }
}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        Self::Remote(error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(error) => error.fmt(f),
            Self::Remote(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for CallError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Function(error) => error.source(),
            Self::Remote(error) => error.source(),
        }
    }
}

/// The function's own error of a stream whose set-up *and* whose items can fail.
///
/// It is in [`CallError::Function`] when such a stream is polled without
/// [`open`](crate::StreamCall::open), which separates the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError<S, E> {
    /// The set-up failed; there are no items.
    Setup(S),
    /// One item failed; the stream goes on.
    Item(E),
}

impl<S: fmt::Display, E: fmt::Display> fmt::Display for StreamError<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Item(error) => error.fmt(f),
        }
    }
}

impl<S: StdError + 'static, E: StdError + 'static> StdError for StreamError<S, E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Setup(error) => error.source(),
            Self::Item(error) => error.source(),
        }
    }
}
