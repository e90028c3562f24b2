//! Targets for the wire formats: frames, headers, control messages, tickets.

use crate::gateway::{Gateway, GatewayBuilder};
use crate::transport::auth::address::{Gateways, IntoGateways};
use crate::transport::auth::ticket::Ticket;
use crate::wire::control::Control;
use crate::wire::error::{put_error, read_error};
use crate::wire::frame::{FRAME_HEADER, FrameBuffer, put};
use crate::wire::header::CallHeader;
use crate::wire::job::{JobId, JobReport, read_accepted, read_list};
use crate::wire::kind::Kind;
use crate::wire::mux::{MuxBuffer, begin, finish, take_frame};
use crate::wire::scanner::FrameScanner;
use crate::wire::trace::NodeTrace;

/// Maximum length of a message in frames.
const MAX_MESSAGE: usize = 1_000;

/// Checks that messages of a multiplexed stream, and the frames in them, are the same for any split
/// of the input into chunks. The first byte is the size of the chunks.
pub fn mux(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let size = usize::from(*size) + 1;
    let read = |size: usize| {
        let (mut buffer, mut messages) = (MuxBuffer::default(), Vec::new());
        for piece in data.chunks(size) {
            buffer.push(piece);
            loop {
                match buffer.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return (messages, false),
                }
            }
        }
        (messages, true)
    };
    let whole = read(usize::MAX);
    assert_eq!(read(size), whole, "in pieces of {size}");
    let mut back = Vec::new();
    for (id, frames) in &whole.0 {
        let start = begin(&mut back, *id);
        let mut rest = frames.clone();
        while let Ok(frame) = take_frame(&mut rest, MAX_MESSAGE) {
            put(&mut back, frame.kind, &frame.body);
        }
        back.extend_from_slice(&rest);
        finish(&mut back, start);
    }
    assert_eq!(back, &data[..back.len()]);
}

/// Checks that frames are the same for any split of the input into chunks. The first byte is the
/// size of the chunks.
pub fn frames(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let size = usize::from(*size) + 1;
    let read = |size: usize| {
        let (mut buffer, mut back) = (FrameBuffer::new(MAX_MESSAGE), Vec::new());
        for piece in data.chunks(size) {
            buffer.push(piece);
            loop {
                match buffer.next() {
                    Ok(Some(frame)) => put(&mut back, frame.kind, &frame.body),
                    Ok(None) => break,
                    Err(_) => return (back, false),
                }
            }
        }
        assert_eq!(&data[back.len()..], &*buffer.take_rest(), "bytes were lost");
        (back, true)
    };
    let (whole, fine) = read(usize::MAX);
    assert_eq!((&data[..whole.len()], fine), (&*whole, fine));
    assert_eq!(read(size), (whole.clone(), fine), "in pieces of {size}");
    let scanners = [
        FrameScanner::answer(MAX_MESSAGE),
        FrameScanner::request(Kind::Unary, false, MAX_MESSAGE),
        FrameScanner::request(Kind::Upload, false, MAX_MESSAGE),
        FrameScanner::request(Kind::Stream, true, MAX_MESSAGE),
        FrameScanner::request(Kind::Duplex, true, MAX_MESSAGE),
    ];
    for mut scanner in scanners {
        let mut passed = 0;
        for piece in data.chunks(size) {
            if scanner.pass(piece).is_err() {
                break;
            }
            passed += piece.len();
            // Both agree on the ends of frames, unless the order of frames is invalid.
            if passed == data.len() && fine {
                assert_eq!(scanner.is_between_frames(), whole.len() == data.len());
            }
        }
    }
}

/// Checks that a header, an error, a trace or a report of a job that decodes is equal after a round
/// trip.
pub fn header(data: &[u8]) {
    if let Ok(header) = CallHeader::read(data) {
        let mut out = Vec::new();
        // A header without room for the gateway's fields is refused.
        if header.put(&mut out).is_ok() {
            assert_eq!(CallHeader::read(&out[FRAME_HEADER..]), Ok(header));
        }
    }
    if let Ok(error) = read_error(data) {
        let mut out = Vec::new();
        put_error(&mut out, &error);
        let back = read_error(&out[FRAME_HEADER..]).unwrap();
        assert_eq!((back.kind(), back.executed()), (error.kind(), error.executed()));
    }
    if let Ok(trace) = NodeTrace::read(data) {
        let mut out = Vec::new();
        trace.put(&mut out);
        assert_eq!(NodeTrace::read(&out[FRAME_HEADER..]), Ok(trace));
    }
    if let Ok(report) = JobReport::read(data) {
        let mut out = Vec::new();
        report.put(&mut out);
        assert_eq!(JobReport::read(&out[FRAME_HEADER..]).unwrap().status, report.status);
    }
    if let Ok(id) = read_accepted(data, "f") {
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
    }
    let _ = read_list(data);
}

/// Checks that a control message that decodes is equal after a round trip.
pub fn control(data: &[u8]) {
    let Ok(message) = Control::read(data) else { return };
    let mut out = Vec::new();
    if message.put(&mut out).is_ok() && !matches!(message, Control::Refused(_)) {
        let back = Control::read(&out[FRAME_HEADER..]).unwrap();
        assert_eq!(format!("{message:?}"), format!("{back:?}"));
    }
}

/// Checks that a ticket or an address that parses is equal after a round trip.
pub fn ticket(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ticket) = text.parse::<Ticket>() {
        let written = ticket.to_string();
        assert_eq!(written.parse::<Ticket>().unwrap(), ticket);
        assert!(!format!("{ticket:?}").contains("token="));
    }
    if let Ok(Gateways { targets }) = text.into_gateways() {
        assert!(!targets.is_empty());
    }
    let _: GatewayBuilder = Gateway::builder(text);
}
