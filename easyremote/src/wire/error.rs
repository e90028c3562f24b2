//! The body of an `Error` and of an `ItemError` frame.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Executed};
use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::frame::{self, FrameKind};
use crate::wire::limits::{MAX_ERROR, MAX_NAME};

/// Longest text of an error on the wire, in bytes; leaves room for the other fields. The
/// documentation of `err = "display"` names the number.
const MAX_TEXT: usize = MAX_ERROR - MAX_NAME - 64;

/// Appends `error` as an `Error` frame.
pub(crate) fn put_error(out: &mut Vec<u8>, error: &Error) {
    put_error_as(FrameKind::Error, out, error);
}

/// Appends `error` as an `ItemError` frame: one item, after which the stream goes on.
pub(crate) fn put_item_error(out: &mut Vec<u8>, error: &Error) {
    put_error_as(FrameKind::ItemError, out, error);
}

fn put_error_as(kind: FrameKind, out: &mut Vec<u8>, error: &Error) {
    let start = frame::begin(out, kind);
    put_error_fields(out, error);
    // `MAX_TEXT` leaves room for the other fields.
    let fits = frame::finish(out, start, MAX_ERROR);
    debug_assert!(fits.is_ok(), "an error is cut to fit");
}

/// Appends the fields of an error, cut to their limits. Hand-written and in place, because one
/// failure can end many calls at once.
///
/// | type   | field       | meaning                                             |
/// |--------|-------------|-----------------------------------------------------|
/// | varint | kind        | the code of an `ErrorKind`                          |
/// | 1 byte | executed    | 0 no, 1 maybe, 2 yes                                |
/// | varint | delivered   | items before the error                              |
/// | varint | retry after | milliseconds plus one; 0 for none                   |
/// | string | node        | id of the node, empty if none was chosen            |
/// | string | text        | human-readable, with all causes                     |
pub(crate) fn put_error_fields(out: &mut Vec<u8>, error: &Error) {
    out.put_varint(u64::from(error.kind().code()));
    out.push(error.executed().code());
    out.put_varint(error.delivered());
    out.put_varint(error.retry_after().map_or(0, |wait| wait.as_millis() as u64 + 1));
    out.put_str(error.node().unwrap_or_default(), MAX_NAME);
    out.put_str(&error.chain().to_string(), MAX_TEXT);
}

/// Decodes the body of an `Error` or an `ItemError` frame, or of a `Refused` message.
///
/// A kind that this version does not know becomes `Protocol`, with the peer's text.
pub(crate) fn read_error(body: &[u8]) -> Result<Error, Malformed> {
    read_fields(body, |reader| reader.str(MAX_ERROR, "text").map(str::to_owned))
}

/// Decodes the beginning of such a body, which contains a part of the text.
pub(crate) fn read_error_head(head: &[u8]) -> Result<Error, Malformed> {
    read_fields(head, |reader| {
        let length = reader.varint("text")?;
        let there = reader.rest();
        let text = &there[..there.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        // The last character may be cut.
        Ok(String::from_utf8_lossy(text).trim_end_matches('\u{fffd}').to_owned())
    })
}

fn read_fields(
    body: &[u8],
    text: impl FnOnce(&mut Reader<'_>) -> Result<String, Malformed>,
) -> Result<Error, Malformed> {
    let mut reader = Reader::new(body);
    let kind = ErrorKind::from_code(reader.varint("kind")?).unwrap_or(ErrorKind::Protocol);
    let executed = Executed::from_code(reader.u8("executed")?);
    let delivered = reader.varint("delivered")?;
    let retry_after = reader.varint("retry after")?;
    let node = reader.str(MAX_NAME, "node")?;
    let text = text(&mut reader)?;
    // `Error::new` and `with_node` make both printable, whatever the peer has sent.
    let mut error = Error::new(kind, text).with_executed(executed).with_delivered(delivered);
    if !node.is_empty() {
        error = error.with_node(node);
    }
    if let Some(millis) = retry_after.checked_sub(1) {
        error = error.with_retry_after(Duration::from_millis(millis));
    }
    Ok(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FrameBuffer;

    fn round_trip(error: &Error) -> Error {
        let mut out = Vec::new();
        put_error(&mut out, error);
        let mut buffer = FrameBuffer::new(0);
        buffer.push(&out);
        let frame = buffer.next().unwrap().unwrap();
        assert_eq!(frame.kind, FrameKind::Error);
        read_error(&frame.body).unwrap()
    }

    #[test]
    fn errors_survive_the_wire() {
        let error = Error::new(ErrorKind::Overloaded, "`f` is busy")
            .with_executed(Executed::Maybe)
            .with_delivered(7)
            .with_node("gpu-1")
            .with_retry_after(Duration::ZERO);
        assert_eq!(format!("{error:?}"), format!("{:?}", round_trip(&error)));
        let bare = Error::new(ErrorKind::NoNode, "");
        assert_eq!(format!("{bare:?}"), format!("{:?}", round_trip(&bare)));
    }

    #[test]
    fn the_beginning_of_an_error_has_all_but_the_rest_of_its_text() {
        let text = "é".repeat(100);
        let error = Error::new(ErrorKind::NodeLost, text.clone()).with_node("gpu-1");
        let mut body = Vec::new();
        put_error_fields(&mut body, &error.with_executed(Executed::Maybe));
        for end in 0..=body.len() {
            let Ok(read) = read_error_head(&body[..end]) else {
                assert!(end < body.len() - text.len());
                continue;
            };
            assert_eq!(read.kind(), ErrorKind::NodeLost);
            assert_eq!((read.executed(), read.node()), (Executed::Maybe, Some("gpu-1")));
            assert!(text.starts_with(&read.to_string()), "{read}");
        }
        assert_eq!(read_error_head(&body).unwrap().to_string(), text);
    }

    #[test]
    fn the_error_of_an_item_survives_the_wire() {
        let error = Error::new(ErrorKind::Failed, "no such row").with_executed(Executed::Yes);
        let mut out = Vec::new();
        put_item_error(&mut out, &error);
        let mut buffer = FrameBuffer::new(0);
        buffer.push(&out);
        let frame = buffer.next().unwrap().unwrap();
        assert_eq!(frame.kind, FrameKind::ItemError);
        assert_eq!(format!("{:?}", read_error(&frame.body).unwrap()), format!("{error:?}"));
    }

    #[test]
    fn no_text_makes_a_terminal_do_things() {
        let mut body = Vec::new();
        put_error_fields(&mut body, &Error::new(ErrorKind::Failed, ""));
        body.truncate(body.len() - 2);
        body.put_str("node\r\n\u{202e}1", MAX_NAME);
        body.put_str("text\r\n\u{202e}\x1b[2J", MAX_TEXT);
        let read = read_error(&body).unwrap();
        assert_eq!((read.node(), read.to_string().as_str()), (Some("node 1"), "text [2J"));
        let back = round_trip(&Error::new(ErrorKind::Failed, "one\n\ttwo\x1b[2J\u{9b}31m\x07"));
        assert_eq!(back.to_string(), "one two[2J31m");
    }

    #[test]
    fn long_texts_are_cut_to_fit_the_frame() {
        let error = Error::new(ErrorKind::Panicked, "é".repeat(MAX_ERROR));
        let back = round_trip(&error);
        assert_eq!(back.to_string(), "é".repeat(MAX_TEXT / 2));
    }
}
