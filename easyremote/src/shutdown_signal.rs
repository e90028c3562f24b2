//! The signal that asks a program to end.

use std::io;

/// Waits until the program is asked to end: by Ctrl-C or SIGTERM on Unix; by Ctrl-C, by closing the
/// console, or by a shutdown of the system on Windows.
///
/// May be awaited by several tasks, which all return at the same signal, and may be awaited again:
/// each call waits for the next signal. From the first call on, these signals no longer end the
/// program by themselves.
///
/// ```no_run
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// let gateway = easyremote::Gateway::serve("0.0.0.0:8080").await?;
/// easyremote::shutdown_signal().await;
/// tokio::select! {
///     () = gateway.drain(Duration::from_secs(30)) => {}
///     () = easyremote::shutdown_signal() => {} // a second signal ends it at once
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Cancel safe. A signal that arrives while nothing waits is not reported later.
///
/// # Panics
/// If it is not polled on a tokio runtime with I/O enabled.
pub async fn shutdown_signal() {
    if let Err(error) = next().await {
        // A program that cannot hear of signals is ended by them, as any other is.
        tracing::warn!(%error, "cannot wait for signals");
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
async fn next() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(windows)]
async fn next() -> io::Result<()> {
    use tokio::signal::windows::{ctrl_c, ctrl_close, ctrl_shutdown};

    let (mut interrupt, mut close, mut shutdown) = (ctrl_c()?, ctrl_close()?, ctrl_shutdown()?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = close.recv() => {}
        _ = shutdown.recv() => {}
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
async fn next() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
