//! Detects messages that stop arriving half-way.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::scanner::FrameScanner;

/// Minimum number of bytes that counts as progress; otherwise a byte now and then would keep a call
/// open for ever.
const PROGRESS: usize = 1 << 10;

/// Limits the time that one direction of a call may stay without progress.
#[derive(Debug)]
pub(super) struct ProgressTimer {
    limit: Duration,
    /// Time of the last progress.
    since: Instant,
    /// Bytes received since then.
    bytes: usize,
}

impl ProgressTimer {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), bytes: 0 }
    }

    /// Returns the time by which progress is required; `None` between messages.
    pub(super) fn due(&self, passed: &FrameScanner) -> Option<Instant> {
        passed.expects_more().then(|| self.since + self.limit)
    }

    /// Records that `bytes` have arrived and are being forwarded. The time until the result is
    /// passed to [`resume`](Self::resume) is back-pressure, which does not count against the
    /// sender.
    pub(super) fn came(&mut self, bytes: usize, passed: &FrameScanner) -> Option<Instant> {
        self.bytes += bytes;
        // Most calls arrive in one piece and never need the clock.
        passed.expects_more().then(Instant::now)
    }

    /// Continues after back-pressure that began at `paused`.
    pub(super) fn resume(&mut self, paused: Option<Instant>) {
        match paused {
            Some(_) if self.bytes >= PROGRESS => self.restart(),
            Some(paused) => self.since += paused.elapsed(),
            // The message is complete; the next one starts with the full time limit.
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
        let mut scanner = FrameScanner::request(Kind::Upload, false, 1 << 20);
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
        // A slow receiver does not count against the sender.
        scanner.pass(&[0]).unwrap();
        let paused = progress.came(1, &scanner);
        tokio::time::advance(LIMIT * 2).await;
        progress.resume(paused);
        assert_eq!(progress.due(&scanner), Some(Instant::now() + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_items_nothing_is_due() {
        let mut scanner = FrameScanner::request(Kind::Upload, false, 1 << 20);
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

    #[tokio::test(start_paused = true)]
    async fn a_reader_may_take_its_time() {
        let mut scanner = FrameScanner::request(Kind::Stream, true, 1 << 20);
        let mut progress = ProgressTimer::new(LIMIT);
        pass(&mut progress, &mut scanner, &[FrameKind::Body as u8, 0, 0, 0, 0]);
        assert_eq!(progress.due(&scanner), None);
        tokio::time::advance(LIMIT * 2).await;
        pass(&mut progress, &mut scanner, &[FrameKind::Taken as u8, 0, 0]);
        assert_eq!(
            progress.due(&scanner),
            Some(Instant::now() + LIMIT),
            "in the middle of a frame"
        );
        pass(&mut progress, &mut scanner, &[0, 1, 7]);
        assert_eq!(progress.due(&scanner), None);
    }
}
