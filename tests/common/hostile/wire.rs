//! The wire as its documentation has it, written by hand: peers of this module keep no rules.

use quinn::{RecvStream, SendStream};
use ring::hmac;

pub const HEADER: u8 = 1;
pub const BODY: u8 = 2;
pub const ERROR: u8 = 4;
pub const OPEN: u8 = 5;
pub const ITEM: u8 = 6;
pub const END: u8 = 8;
pub const CONTROL: u8 = 9;
pub const MUX: u8 = 12;
pub const OVERFLOW: u8 = 13;
pub const TAKEN: u8 = 14;
pub const SKIPPED: u8 = 15;

pub const UNARY: u8 = 0;
pub const STREAM: u8 = 1;
pub const UPLOAD: u8 = 2;
pub const DUPLEX: u8 = 3;

/// The kinds of errors, as they travel.
pub const UNAVAILABLE: u64 = 1;
pub const SIGNATURE_MISMATCH: u64 = 4;
pub const OVERLOADED: u64 = 7;
pub const TOO_LARGE: u64 = 8;
pub const PROTOCOL: u64 = 19;

/// The code of `kind` in errors; see `ErrorKind` for the kinds.
pub fn kind_of(frame: &Frame) -> u64 {
    assert_eq!(frame.0, ERROR, "{frame:?}");
    read_varint(&frame.1).0
}

pub type Frame = (u8, Vec<u8>);

pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&begun(kind, body.len() as u32)[..], body].concat()
}

/// The beginning of a frame that says it has `length` bytes.
pub fn begun(kind: u8, length: u32) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes()].concat()
}

pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..64 => vec![value as u8],
        64..16_384 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        16_384..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => long_varint(value),
    }
}

/// Of any value, in 8 bytes.
pub fn long_varint(value: u64) -> Vec<u8> {
    (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec()
}

pub fn read_varint(bytes: &[u8]) -> (u64, usize) {
    let length = 1 << (bytes[0] >> 6);
    let rest = bytes[1..length].iter();
    (rest.fold(u64::from(bytes[0] & 0x3f), |value, byte| value << 8 | u64::from(*byte)), length)
}

pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    [&varint(text.as_ref().len() as u64)[..], text.as_ref()].concat()
}

/// An integer as bincode has it, in the fields of control messages.
pub fn packed(value: u64) -> Vec<u8> {
    match value {
        0..251 => vec![value as u8],
        251..0x1_0000 => [&[251][..], &(value as u16).to_le_bytes()].concat(),
        0x1_0000..0x1_0000_0000 => [&[252][..], &(value as u32).to_le_bytes()].concat(),
        _ => [&[253][..], &value.to_le_bytes()].concat(),
    }
}

/// A string as bincode has it.
pub fn packed_string(text: impl AsRef<[u8]>) -> Vec<u8> {
    [&packed(text.as_ref().len() as u64)[..], text.as_ref()].concat()
}

/// The first message of a peer of this role, `client` or `node`.
pub fn hello(
    connection: &quinn::Connection,
    role: &str,
    token: &[u8],
    id: impl AsRef<[u8]>,
) -> Vec<u8> {
    let mut material = [0; 32];
    let label = b"EXPORTER-easyremote-1";
    connection.export_keying_material(&mut material, label, role.as_bytes()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, token);
    let proof = hmac::sign(&key, &material);
    let of = hmac::sign(&key, b"easyremote token id");
    let role = if role == "node" { 1 } else { 2 };
    let boot: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    let proof = [&[1], &of.as_ref()[..8], proof.as_ref()].concat();
    frame(CONTROL, &[&[1, role][..], &proof, &packed_string(id), &boot, &[0]].concat())
}

/// What a node says that offers these functions, of these kinds.
pub fn register(functions: &[(&str, u8)]) -> Vec<u8> {
    register_with_schemas(functions, "")
}

/// The same, each function with these schemas.
pub fn register_with_schemas(functions: &[(&str, u8)], schemas: &str) -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend(packed(4_096));
    body.extend(packed(functions.len() as u64));
    for (name, kind) in functions {
        body.extend(packed_string(name));
        body.push(*kind);
        // Fingerprint, parameters, signature, doc, needs, concurrency, timeout, idempotent, tool.
        body.extend([0; 9]);
        body.extend(packed_string(schemas));
    }
    frame(CONTROL, &body)
}

/// The header of a call of `function` with JSON arguments.
pub fn call(function: impl AsRef<[u8]>, kind: u8) -> Vec<u8> {
    let id: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    frame(HEADER, &[&id[..], &[0, kind, 1], &[0; 8], &[0], &string(function)].concat())
}

/// The same as a gateway sends it, which says who calls.
pub fn call_of_someone(function: &str, kind: u8) -> Vec<u8> {
    // Option 9: role, id, address and identity.
    let caller = [&[2][..], &string("c"), &string("127.0.0.1:1"), &string("i")].concat();
    frame(HEADER, &[&call(function, kind)[5..], &[9], &string(caller)].concat())
}

/// Reads a frame; `None` if there is none, for whatever reason.
pub async fn read(recv: &mut RecvStream) -> Option<Frame> {
    let mut header = [0; 5];
    recv.read_exact(&mut header).await.ok()?;
    let [kind, length @ ..] = header;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

/// The kind of the error with which a call ends: in a frame, or with a reset where no frame can be
/// put any more; `None` if it ends otherwise.
pub async fn error_of(recv: &mut RecvStream) -> Option<u64> {
    let mut frames = Vec::new();
    loop {
        match recv.read_chunk(1 << 16, true).await {
            Ok(Some(chunk)) => frames.extend_from_slice(&chunk.bytes),
            Ok(None) => break,
            Err(quinn::ReadError::Reset(code)) => return Some(code.into_inner() / 4),
            Err(_) => return None,
        }
    }
    (*frames.first()? == ERROR).then(|| kind_of(&(ERROR, frames[5..].to_vec())))
}

/// Reads messages of the control stream, echoing pings, until one with another tag than those of
/// the heartbeat comes; `None` if it ends before.
pub async fn message(send: &mut SendStream, recv: &mut RecvStream) -> Option<Vec<u8>> {
    const PING: u8 = 6;
    const PONG: u8 = 7;
    const RELEASED: u8 = 13;
    const ABANDONED: u8 = 14;
    loop {
        match read(recv).await? {
            (CONTROL, body) if body[0] == PING => {
                send.write_all(&frame(CONTROL, &[&[PONG], &body[1..]].concat())).await.ok()?;
            }
            (CONTROL, body) if body[0] == PONG => {}
            // It runs nothing, so the place of every call is free.
            (CONTROL, body) if body[0] == ABANDONED => {
                send.write_all(&frame(CONTROL, &[&[RELEASED], &body[1..]].concat())).await.ok()?;
            }
            (CONTROL, body) => return Some(body),
            other => panic!("{other:?} on the control stream"),
        }
    }
}
