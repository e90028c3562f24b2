//! Notices messages that stop arriving in the middle.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::scanner::FrameScanner;

/// Fewer bytes than that are no progress: a byte now and then would keep a call open for ever.
const PROGRESS: usize = 1 << 10;

/// How long one direction of a call may be without progress.
#[derive(Debug)]
pub(super) struct ProgressTimer {
    limit: Duration,
    /// The last progress.
    since: Instant,
    /// What has come since.
    bytes: usize,
}

impl ProgressTimer {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), bytes: 0 }
    }

    /// When the next progress has to be there, if there has to be one.
    pub(super) fn due(&self, passed: &FrameScanner) -> Option<Instant> {
        passed.expects_more().then(|| self.since + self.limit)
    }

    /// Notes that `bytes` have come and are passed on. Until the answer is given to
    /// [`resume`](Self::resume) the sender is not at fault.
    pub(super) fn came(&mut self, bytes: usize, passed: &FrameScanner) -> Option<Instant> {
        self.bytes += bytes;
        // Most calls never need to know the time.
        passed.expects_more().then(Instant::now)
    }

    /// Goes on after `paused`, when bytes came.
    pub(super) fn resume(&mut self, paused: Option<Instant>) {
        match paused {
            Some(_) if self.bytes >= PROGRESS => self.restart(),
            Some(paused) => self.since += paused.elapsed(),
            // A message is whole; the next one has its own time.
            None => self.bytes = PROGRESS,
        }
    }

    fn restart(&mut self) {
        self.since = Instant::now();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FrameKind;
    use crate::wire::kind::Kind;

    const LIMIT: Duration = Duration::from_secs(10);

    fn pass(progress: &mut ProgressTimer, scanner: &mut FrameScanner, bytes: &[u8]) {
        scanner.pass(bytes).unwrap();
        let paused = progress.came(bytes.len(), scanner);
        progress.resume(paused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_no_progress() {
        let mut scanner = FrameScanner::request(Kind::Upload, 1 << 20);
        let mut progress = ProgressTimer::new(LIMIT);
        let start = Instant::now();
        assert_eq!(progress.due(&scanner), Some(start + LIMIT), "arguments have to come");
        pass(&mut progress, &mut scanner, &[FrameKind::Body as u8, 0, 0, 8, 0]);
        for _ in 0..1_018 {
            tokio::time::advance(Duration::from_millis(5)).await;
            pass(&mut progress, &mut scanner, &[0]);
        }
        assert_eq!(progress.due(&scanner), Some(start + LIMIT));
        pass(&mut progress, &mut scanner, &[0]);
        assert_eq!(progress.due(&scanner), Some(Instant::now() + LIMIT), "a kilobyte is");
        // A receiver that is slow is not the sender's fault.
        scanner.pass(&[0]).unwrap();
        let paused = progress.came(1, &scanner);
        tokio::time::advance(LIMIT * 2).await;
        progress.resume(paused);
        assert_eq!(progress.due(&scanner), Some(Instant::now() + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_items_nothing_is_due() {
        let mut scanner = FrameScanner::request(Kind::Upload, 1 << 20);
        let mut progress = ProgressTimer::new(LIMIT);
        pass(&mut progress, &mut scanner, &[FrameKind::Body as u8, 0, 0, 0, 0]);
        assert_eq!(progress.due(&scanner), None);
        tokio::time::advance(LIMIT * 2).await;
        pass(&mut progress, &mut scanner, &[FrameKind::Item as u8]);
        assert_eq!(progress.due(&scanner), Some(Instant::now() + LIMIT));
        pass(&mut progress, &mut scanner, &[0, 0, 0, 0]);
        assert_eq!(progress.due(&scanner), None);
        assert_eq!(progress.due(&FrameScanner::answer(1 << 20)), None);
    }
}
