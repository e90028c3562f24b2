//! A hostile gateway that calls a node with nonsense, and with a header that never ends.

use common::hostile::impostor::Impostor;
use common::hostile::wire::{self, PROTOCOL, SIGNATURE_MISMATCH};
use common::offered::add;
use common::{soon, until};
use easyremote::Node;
use easyremote::functions;
use easyremote::node::NodeLimits;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_node_is_called_with_nonsense() {
    let impostor = Impostor::start();
    let node = Node::builder(&*impostor.ticket("ern_"));
    let node = node
        .functions(functions![add])
        .limits(NodeLimits::new().max_message(MIB).max_unfinished(2 * MIB as u64));
    let (node, connection) = soon(async { tokio::join!(node.serve(), impostor.register()) }).await;
    let node = node.unwrap();
    let header = wire::call("add", wire::UNARY);
    let unknown = wire::call("nothing", wire::UNARY);
    for bytes in [
        vec![0xff; 100],
        wire::begun(wire::HEADER, u32::MAX),
        wire::frame(wire::HEADER, b""),
        [&header[..], &wire::frame(wire::BODY, b"[1, 2]")].concat(),
        [&unknown[..], &wire::frame(wire::BODY, b"[]")].concat(),
    ] {
        let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        // A call whose caller nobody names is none either.
        assert_eq!(wire::kind_of(&soon(wire::read(&mut recv)).await.unwrap()), PROTOCOL);
    }
    // Nor is a function called that is of other types, or of another kind.
    let mut other = wire::call_of_someone("add", wire::UNARY);
    other[5 + 16 + 3] ^= 1;
    for header in [other, wire::call_of_someone("add", wire::STREAM)] {
        let bytes = [header, wire::frame(wire::BODY, b"[1, 2]")].concat();
        let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let answer = soon(wire::read(&mut recv)).await.unwrap();
        assert_eq!(wire::kind_of(&answer), SIGNATURE_MISMATCH);
    }
    // A header that never ends is not waited for.
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    send.write_all(&header[..header.len() / 2]).await.unwrap();
    assert_eq!(wire::kind_of(&soon(wire::read(&mut recv)).await.unwrap()), PROTOCOL);
    until(|| node.stats().in_flight == 0).await;
}
