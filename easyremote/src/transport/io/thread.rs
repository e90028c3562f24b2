//! The I/O thread of the process.

use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

/// The I/O thread, while a role uses it; it ends with the last one.
static SHARED: Mutex<Weak<SharedThread>> = Mutex::new(Weak::new());

thread_local! {
    static IS_IO: Cell<bool> = const { Cell::new(false) };
}

/// A thread with a current-thread runtime, on which no user code runs.
#[derive(Debug)]
pub(super) struct SharedThread {
    handle: Handle,
    stop: CancellationToken,
}

impl SharedThread {
    /// Returns the I/O thread of the process, and starts it if there is none.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no thread or no event queue.
    pub(super) fn get() -> Result<Arc<Self>, Error> {
        let mut shared = SHARED.lock();
        if let Some(thread) = shared.upgrade() {
            return Ok(thread);
        }
        let thread = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&thread);
        Ok(thread)
    }

    fn start() -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        thread::Builder::new()
            .name("easyremote-io".to_owned())
            .spawn(move || {
                IS_IO.set(true);
                runtime.block_on(stopped.cancelled());
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, stop })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the current thread is an I/O thread.
    pub(super) fn is_current() -> bool {
        IS_IO.get()
    }
}

impl Drop for SharedThread {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The error for a thread or an event queue that the operating system does not provide.
pub(super) fn failed(error: std::io::Error) -> Error {
    // The cause is in the text rather than the source, because it says which limit to raise.
    let text = format!(
        "cannot start the I/O thread: {error}; see the limits of threads and open files: `ulimit -u`, \
         `ulimit -n`, and those of the container"
    );
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_start_says_why_and_what_to_look_at() {
        let reason = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        let (shown, error) = (reason.to_string(), failed(reason));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.chain().to_string();
        assert_eq!(text.matches(&shown).count(), 1, "{text}");
        assert!(text.contains("`ulimit -u`") && text.contains("`ulimit -n`"), "{text}");
    }
}
