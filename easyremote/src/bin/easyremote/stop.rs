//! Signals that end a command.

use crate::exit;

/// Waits for Ctrl-C or SIGTERM. Returns the exit code that a shell expects then.
pub(crate) async fn signal() -> u8 {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            return tokio::select! {
                code = interrupt() => code,
                _ = terminated.recv() => exit::TERMINATED,
            };
        }
    }
    interrupt().await
}

async fn interrupt() -> u8 {
    match tokio::signal::ctrl_c().await {
        Ok(()) => exit::INTERRUPTED,
        // Without a handler the system ends the process.
        Err(_) => std::future::pending().await,
    }
}
