//! The multiplexed stream, which small calls share, written by hand.

use quinn::{Connection, RecvStream, SendStream};

use crate::hostile::wire;
use crate::soon;

/// A message.
pub fn message(id: u64, frames: &[u8]) -> Vec<u8> {
    let length = (frames.len() + 8) as u32;
    [&length.to_be_bytes()[..], &id.to_be_bytes(), frames].concat()
}

/// A call with JSON arguments.
pub fn call(id: u64, function: &str, arguments: &str) -> Vec<u8> {
    let header = wire::call(function, wire::UNARY);
    message(id, &[header, wire::frame(wire::BODY, arguments.as_bytes())].concat())
}

/// The frame that a multiplexed stream begins with.
pub fn opening() -> Vec<u8> {
    wire::frame(wire::MUX, b"")
}

/// The next message: its id and its frames.
pub async fn read(recv: &mut RecvStream) -> Option<(u64, Vec<u8>)> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.ok()?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut message).await.ok()?;
    let frames = message.split_off(8);
    Some((u64::from_be_bytes(message.try_into().ok()?), frames))
}

/// Waits for the multiplexed stream of a peer.
pub async fn accept(connection: &Connection) -> (SendStream, RecvStream) {
    let (send, mut recv) = soon(connection.accept_bi()).await.unwrap();
    assert_eq!(soon(wire::read(&mut recv)).await.unwrap().0, wire::MUX);
    (send, recv)
}
