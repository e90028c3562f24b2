//! Server-sent events on their way through.

use bytes::{Bytes, BytesMut};

/// Passes on what is complete, so that a stream that breaks off can end with an event that says so:
/// behind half an event, a reader would take it for a part of that.
///
/// A reader loses nothing: it waits for the empty line at the end of an event too.
#[derive(Debug, Default)]
pub(super) struct CompleteEvents {
    /// The beginning of an event.
    held: BytesMut,
    /// Whether the last byte passed or held is at the beginning of a line.
    fresh_line: bool,
    /// Whether a part of an event that was too long to be held has been passed on.
    within: bool,
}

/// Longest part of an event that is held, in bytes.
const MAX_HELD: usize = 64 << 10;

impl CompleteEvents {
    /// Takes a chunk, and returns what can be passed on.
    pub(super) fn pass(&mut self, mut chunk: Bytes) -> Bytes {
        let Some(end) = self.end_of_events(&chunk) else {
            if self.held.len() + chunk.len() <= MAX_HELD {
                self.held.extend_from_slice(&chunk);
                return Bytes::new();
            }
            self.within = true;
            return self.with_held(chunk);
        };
        self.within = false;
        let complete = chunk.split_to(end);
        let complete = self.with_held(complete);
        if chunk.len() <= MAX_HELD {
            self.held.extend_from_slice(&chunk);
            return complete;
        }
        self.within = true;
        [complete, chunk].concat().into()
    }

    /// Returns the end of the last event that is complete in the chunk.
    fn end_of_events(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut end = None;
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                b'\n' if self.fresh_line => end = Some(at + 1),
                b'\n' => self.fresh_line = true,
                b'\r' => {}
                _ => self.fresh_line = false,
            }
        }
        end
    }

    /// Puts what is held in front of a chunk, which is not copied if nothing is held.
    fn with_held(&mut self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            return chunk;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(&chunk);
        held.freeze()
    }

    /// Returns what is held, at the end of the stream.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    /// Returns whether all that has been passed on are complete events.
    pub(super) fn is_between(&self) -> bool {
        !self.within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_events_pass_as_they_come_however_they_are_cut() {
        for end in ["\n", "\r\n"] {
            let text =
                format!("data: one{end}{end}: x{end}{end}id: 2{end}data: two{end}{end}data: th");
            for size in 1..=text.len() {
                let (mut events, mut passed) = (CompleteEvents::default(), String::new());
                for chunk in text.as_bytes().chunks(size) {
                    let more = events.pass(Bytes::copy_from_slice(chunk));
                    passed.push_str(std::str::from_utf8(&more).unwrap());
                    assert!(
                        passed.is_empty() || passed.ends_with(&format!("{end}{end}")),
                        "{size}"
                    );
                }
                assert!(passed.ends_with(&format!("data: two{end}{end}")), "{size} {end:?}");
                assert!(events.is_between());
                assert_eq!(passed + std::str::from_utf8(&events.rest()).unwrap(), text);
            }
        }
    }

    #[test]
    fn a_complete_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"data: x\n\n");
        let passed = CompleteEvents::default().pass(chunk.clone());
        assert_eq!(passed.as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn long_events_are_not_held() {
        let mut events = CompleteEvents::default();
        let long = Bytes::from(vec![b'x'; MAX_HELD]);
        assert!(events.pass(long.clone()).is_empty());
        assert_eq!(events.pass(long.clone()).len(), 2 * MAX_HELD);
        assert!(!events.is_between());
        assert_eq!(events.pass(Bytes::from_static(b"\n\n")).len(), 2);
        assert!(events.is_between());
    }
}
