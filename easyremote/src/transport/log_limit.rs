//! Limits for log lines that peers can cause: their rate, and their length.
//!
//! Before such a line is logged, a [`LogLimiter`] must allow it, and text from the peer is
//! shortened with [`Brief`].

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::Hash;

use parking_lot::Mutex;

use crate::transport::token_bucket::TokenBucket;

/// Burst of lines per key: enough to see what happens.
const BURST: u32 = 10;

/// Sustained rate of lines per key, per second.
const PER_SECOND: f64 = 0.2;

/// Burst and sustained rate per second of the lines of all keys together.
const ALL: (u32, f64) = (100, 10.0);

/// Maximum number of keys with a separate limit. Further keys share one.
const MAX_KEYS: usize = 1_024;

/// Maximum length of text from a peer in a line, in bytes.
const MAX_LINE: usize = 512;

/// Limits log lines per key, such as peer and kind of line, and in total.
#[derive(Debug)]
pub(crate) struct LogLimiter<K>(Mutex<LineBuckets<K>>);

#[derive(Debug)]
struct LineBuckets<K> {
    by_key: HashMap<K, LineBucket>,
    others: LineBucket,
    all: TokenBucket,
}

// Not derived: that would require `K: Default`.
impl<K> Default for LogLimiter<K> {
    fn default() -> Self {
        let (by_key, others) = (HashMap::new(), LineBucket::default());
        let all = TokenBucket::new(ALL.1, f64::from(ALL.0));
        Self(Mutex::new(LineBuckets { by_key, others, all }))
    }
}

impl<K: Eq + Hash> LogLimiter<K> {
    /// Returns `Some` if a line for this key may be logged now, with the number of lines suppressed
    /// since the last one.
    pub(crate) fn next(&self, key: K) -> Option<u64> {
        let mut buckets = self.0.lock();
        let LineBuckets { by_key, others, all } = &mut *buckets;
        if by_key.len() >= MAX_KEYS && !by_key.contains_key(&key) {
            // A full bucket carries no information, so it can be dropped.
            by_key.retain(|_, bucket| !bucket.is_new());
            if by_key.len() >= MAX_KEYS {
                return others.next_within(all);
            }
        }
        by_key.entry(key).or_default().next_within(all)
    }
}

#[derive(Debug)]
struct LineBucket {
    lines: TokenBucket,
    left_out: u64,
}

impl Default for LineBucket {
    fn default() -> Self {
        Self { lines: TokenBucket::new(PER_SECOND, f64::from(BURST)), left_out: 0 }
    }
}

impl LineBucket {
    fn next_within(&mut self, all: &mut TokenBucket) -> Option<u64> {
        // The key's own limit first, so that a key beyond its limit takes nothing from the total.
        let may = self.lines.take() && all.take();
        self.left_out += u64::from(!may);
        may.then(|| std::mem::take(&mut self.left_out))
    }

    fn is_new(&mut self) -> bool {
        self.lines.add(0.0);
        self.lines.was_full()
    }
}

/// Displays text that a peer may have written, cut to [`MAX_LINE`] bytes.
#[derive(Debug)]
pub(crate) struct Brief<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Brief<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = BriefWriter { to: f, room: MAX_LINE, cut: false };
        let written = write!(writer, "{}", self.0);
        match writer.cut {
            true => f.write_str(".."),
            false => written,
        }
    }
}

struct BriefWriter<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    room: usize,
    cut: bool,
}

impl Write for BriefWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.room {
            self.room -= text.len();
            return self.to.write_str(text);
        }
        let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= self.room;
        let end =
            text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
        self.to.write_str(&text[..end])?;
        self.cut = true;
        // Stops the formatter.
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_are_bounded_and_what_is_left_out_is_counted() {
        let limiter = LogLimiter::default();
        let told = |key| (0..1_000).filter(|_| limiter.next(key).is_some()).count();
        assert_eq!((told(1), told(2)), (10, 10), "each for itself");
        tokio::time::advance(Duration::from_millis(4_900)).await;
        assert_eq!(limiter.next(1), None);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(limiter.next(1), Some(991));
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!((limiter.next(1), limiter.next(1)), (Some(0), Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn many_keys_take_neither_memory_nor_lines_without_end() {
        let limiter = LogLimiter::default();
        let told = (0..100_000).filter(|key| limiter.next(*key).is_some()).count();
        assert_eq!(told, ALL.0 as usize);
        assert_eq!(limiter.0.lock().by_key.len(), MAX_KEYS);
        // Quiet keys are dropped.
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!(limiter.next(7_777_776), Some(0));
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!((limiter.next(7_777_777), limiter.0.lock().by_key.len()), (Some(0), 2));
    }

    #[test]
    fn what_a_peer_has_written_is_cut_between_characters() {
        assert_eq!(Brief("short").to_string(), "short");
        assert_eq!(Brief("x".repeat(512)).to_string().len(), 512);
        let long = Brief(format_args!("{}{}", "x", "é".repeat(400))).to_string();
        assert_eq!(long, format!("x{}..", "é".repeat(255)));
        assert_eq!(Brief(format_args!("{:?}", vec!["tag"; 1_000])).to_string().len(), 514);
    }
}
