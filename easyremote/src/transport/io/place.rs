//! The option of where I/O runs.

/// Where a client or a node does its I/O: reads and writes packets, encrypts, answers heartbeats.
///
/// | | where |
/// |---|---|
/// | [`Runtime`](Self::Runtime) | on the tokio runtime that the role is started from: a call has to wake no other thread, which costs less time and less of a processor |
/// | [`Thread`](Self::Thread) | on the I/O thread, which all clients and nodes of the process share: code that blocks the runtime does not delay I/O at all |
/// | [`Auto`](Self::Auto), the default | as `Runtime`; as `Thread` outside of a tokio runtime, on a runtime without an I/O driver, and on other platforms than Unix |
///
/// With `Runtime`, a runtime that is blocked, is not driven, or has ended does not lose its
/// connections: the I/O thread takes over until the runtime is back. It notices within about 0.2 s
/// of the last I/O, and within 1.2 s if there was none; until then, packets wait.
///
/// A runtime has no I/O driver if it was built without
/// [`enable_io`](tokio::runtime::Builder::enable_io) and `enable_all`. This is found out by a panic
/// that is caught, so a program that is compiled with `panic = "abort"` needs one, or
/// [`Thread`](Self::Thread).
///
/// ```
/// use easyremote::Client;
/// use easyremote::client::Io;
///
/// let builder = Client::builder("127.0.0.1:8080").io(Io::Thread);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Io {
    /// On the runtime where that is possible.
    #[default]
    Auto,
    /// On the I/O thread of the process.
    Thread,
    /// On the runtime that the role is started from.
    Runtime,
}
