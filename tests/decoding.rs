//! What bytes of a peer can make a node allocate: no more than a small multiple of their number. A
//! binary by itself, with one test: its allocator counts the memory of the whole process.

use std::alloc::System;
use std::collections::{BTreeMap, HashMap};

use common::World;
use common::hostile::attacker::Insider;
use common::hostile::wire;
use easyremote::__bench::ControlMessage;
use easyremote::node::NodeLimits;
use easyremote::{Role, functions, remote};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Vec<Tree>),
    Named { name: String, children: Vec<Tree> },
}

#[remote]
fn units(_units: Vec<()>) {}

#[remote]
fn vectors(_vectors: Vec<Vec<u8>>) {}

#[remote]
fn sparse(_options: Vec<Option<[u64; 32]>>) {}

#[remote]
fn boxes(_chain: Chain) {}

#[remote]
fn trees(_tree: Tree) {}

#[remote]
fn maps(_map: HashMap<u64, BTreeMap<String, ()>>) {}

#[remote]
fn text(_text: String) {}

#[remote]
fn two(_first: u8, _second: u8) {}

const MIB: usize = 1 << 20;

/// A varint of bincode.
fn length(n: u64) -> Vec<u8> {
    [&[0xfd][..], &n.to_le_bytes()].concat()
}

/// A call, with the codec in its header: 0 bincode, 1 JSON.
fn call(function: &str, codec: u8, arguments: &[u8]) -> Vec<u8> {
    let mut header = wire::call(function, wire::UNARY);
    header[5 + 16 + 2] = codec;
    [header, wire::frame(wire::BODY, arguments)].concat()
}

/// Lengths of a control message that are not there allocate nothing.
fn no_control_message_takes_much_more_memory_than_it_has_bytes() {
    let names = [&[4, 1][..], &wire::packed(128), &[b'x'; 128]].concat();
    let many = [&[4, 0, 1][..], &wire::packed(1_024)].concat();
    let mut bombs = vec![names, many];
    for n in [1_u64 << 20, 1 << 40, u64::MAX] {
        // A node's id; tags; a tag; functions; the name of a function; its parameters.
        for before in
            [&[1, 1, 0][..], &[4], &[4, 1], &[4, 0, 1], &[4, 0, 1, 1], &[4, 0, 1, 1, 0, 0, 0]]
        {
            bombs.push([before, &length(n)].concat());
        }
    }
    for bomb in bombs {
        let frame = wire::frame(wire::CONTROL, &bomb);
        ALLOCATOR.reset_peak_memory();
        let read = ControlMessage::read(&frame);
        let peak = ALLOCATOR.get_peak_memory();
        assert!(read.is_none() && peak < 1_024, "{bomb:?}: {peak} bytes of memory");
    }
}

#[tokio::test]
async fn no_message_takes_much_more_memory_than_it_has_bytes() {
    no_control_message_takes_much_more_memory_than_it_has_bytes();
    const N: usize = 4 * MIB;
    let world = World::start().await;
    let first = functions![units, vectors, sparse, boxes, trees, maps, text, two];
    let node = world.node_builder().functions(first).limits(NodeLimits::new().max_decoded(4 * MIB));
    let _node = node.serve().await.unwrap();
    let ticket = world.gateway.ticket(Role::Client).to_string();
    let insider = Insider::client(world.gateway.local_addr(), &ticket).await;
    let of = |bytes: &[u8]| [&length(N as u64)[..], &bytes.repeat(N)].concat();
    let array = |item: &str| format!("[[{item}{}]]", format!(",{item}").repeat(N / 2));
    let keys: Vec<_> = (0..N / 8).map(|i| format!("\"{i}\":1")).collect();
    let bombs: [(&str, u8, Vec<u8>); 18] = [
        ("units", 0, length(u64::MAX)),
        ("units", 0, length(1 << 40)),
        ("vectors", 0, of(&[0])),
        ("vectors", 0, length(u64::MAX)),
        ("sparse", 0, of(&[0])),
        ("boxes", 0, vec![1; 50_000]),
        ("trees", 0, [1, 1].repeat(25_000)),
        ("trees", 0, [&[1][..], &of(&[0])].concat()),
        ("maps", 0, length(u64::MAX)),
        ("text", 0, length(1 << 40)),
        ("two", 0, vec![0; N]),
        ("vectors", 1, array("[]").into()),
        ("boxes", 1, b"[".repeat(50_000)),
        ("two", 1, array("1").replace("[[", "[").replace("]]", "]").into()),
        ("two", 1, format!("{{{}}}", keys.join(",")).into()),
        ("two", 1, array("\"\":1").replace("[[", "{").replace("]]", "}").into()),
        ("sparse", 1, array("null").into()),
        ("trees", 1, array("\"Leaf\"").replace("[[", "[{\"Node\":[").replace("]]", "]}]").into()),
    ];
    // What the connections take is there after a first message of this size.
    let (mut send, mut recv) = insider.open(&call("two", 0, &vec![0; N])).await;
    send.finish().unwrap();
    wire::read(&mut recv).await.unwrap();
    for (function, codec, arguments) in bombs {
        let bytes = call(function, codec, &arguments);
        ALLOCATOR.reset_peak_memory();
        let (mut send, mut recv) = insider.open(&bytes).await;
        send.finish().unwrap();
        let answer = common::soon(wire::read(&mut recv)).await.unwrap();
        let peak = ALLOCATOR.get_peak_memory();
        let said = String::from_utf8_lossy(&answer.1);
        println!("{function:8} {codec} {:9} bytes: {peak:10} of memory: {said}", arguments.len());
        // 16 times the message or 4 MiB for the value; the message itself on its way, and again
        // where buffers grow; and 8 MiB of windows. Of arguments that are too many nothing is kept.
        let times = match (function, codec) {
            ("two", _) => 4,
            // Nobody says how many there are, so that half of a vector may be in reserve.
            ("sparse", 1) => 2 * 16 + 8,
            _ => 16 + 8,
        };
        let allowed = times * arguments.len() + 12 * MIB;
        assert!(peak <= allowed, "{function}: {peak} bytes of memory for {}", arguments.len());
        // A JSON array of empty ones is within the budget, and so are its trees.
        let fits = codec == 1 && ["vectors", "trees"].contains(&function);
        assert_eq!(answer.0, if fits { wire::BODY } else { wire::ERROR }, "{function}: {said}");
    }
}
