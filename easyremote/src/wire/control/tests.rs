use std::collections::BTreeMap;
use std::iter;

use super::*;
use crate::error::ErrorKind;
use crate::wire::fields::MAX_TEXT;
use crate::wire::frame::FRAME_HEADER;
use crate::wire::limits::{
    MAX_FUNCTIONS, MAX_GAUGE_NAME, MAX_GAUGES, MAX_HELLO, MAX_LIST, MAX_NAME, MAX_SCHEMAS,
};

/// The body of a message.
fn encoded(message: &Control) -> Vec<u8> {
    let mut out = Vec::new();
    message.put(&mut out).unwrap();
    out.split_off(FRAME_HEADER)
}

/// The body of a message whose fields have no limit.
fn unlimited<T: Serialize + 'static>(tag: u8, fields: &T) -> Vec<u8> {
    let mut out = vec![tag];
    fields::put(fields, &mut out);
    out
}

/// The error of a body that is refused.
fn refusal(body: &[u8]) -> String {
    let cause = Control::read(body).unwrap_err();
    assert_eq!(cause.kind, ErrorKind::Protocol, "{cause}");
    cause.text
}

fn same(one: &Control, other: &Control) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

fn offer(name: &str) -> Offer {
    Offer {
        name: name.into(),
        kind: Kind::Unary,
        fingerprint: 0,
        parameters: Vec::new(),
        signature: String::new(),
        doc: String::new(),
        needs: Vec::new(),
        concurrency: 0,
        timeout_ms: 0,
        idempotent: false,
        tool: false,
        schemas: "".into(),
    }
}

fn samples() -> Vec<Control> {
    vec![
        Control::Hello(Hello {
            role: Role::Node,
            proof: Some(Proof { token: [2; 8], tag: [3; 32] }),
            id: "gpu-1".into(),
            boot: [4; 16],
            epoch: 5,
        }),
        Control::Welcome(Welcome { max_message: 64 << 20 }),
        Control::Refused(Error::new(ErrorKind::Unauthenticated, "wrong token")),
        Control::Register(Register {
            tags: vec!["gpu".into()],
            capacity: 8,
            functions: vec![Offer {
                name: "sync_add".into(),
                kind: Kind::Unary,
                fingerprint: 6,
                parameters: vec!["a".into(), "b".into()],
                signature: "(a: i64, b: i64) -> i64".into(),
                doc: "Adds.".into(),
                needs: vec!["gpu".into(), "eu".into()],
                concurrency: 2,
                timeout_ms: 30_000,
                idempotent: true,
                tool: true,
                schemas: r#"{"arguments":{}}"#.into(),
            }],
        }),
        Control::Registered,
        Control::Ping(1),
        Control::Pong(2),
        Control::Draining,
        Control::Drained,
        Control::Retag(Retag { number: 3, tags: vec!["gpu".into(), "eu".into()] }),
        Control::Retagged(3),
        Control::Credit(Credit { stream: 300, limit: 1 << 40 }),
        Control::Released { stream: 4 },
        Control::Abandoned { stream: u64::MAX },
        Control::Leave,
        Control::Load(NodeLoad::new((0, 0), None, (0, 0))),
        Control::Load(NodeLoad::new((2, 1), Some(50), (1 << 30, 4 << 30)).with_jobs(7)),
        Control::Gauges(GaugeReport::default()),
        Control::Gauges(gauges(MAX_GAUGES)),
        Control::Slow(SlowFunctions { names: vec!["train".into()] }),
        Control::Unknown(255),
    ]
}

#[test]
fn messages_survive_the_wire() {
    for message in samples() {
        let body = encoded(&message);
        assert!(same(&Control::read(&body).unwrap(), &message), "{message:?}");
    }
}

#[test]
fn what_follows_the_fields_is_ignored() {
    for message in samples() {
        let longer = [&encoded(&message)[..], b"from the future"].concat();
        // The text of an error is its last field too, and has a length.
        assert!(same(&Control::read(&longer).unwrap(), &message), "{message:?}");
    }
}

#[test]
fn every_cut_is_an_error() {
    for message in samples() {
        let body = encoded(&message);
        for end in 0..body.len() {
            assert!(Control::read(&body[..end]).is_err(), "{message:?} at {end}");
        }
    }
}

#[test]
fn generated_messages_survive_the_wire() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut string = |limit: usize| -> String {
        let length = [0, 1, 40, limit - 1, limit][random.usize(..5)];
        std::iter::repeat_with(|| random.alphanumeric()).take(length).collect()
    };
    let mut random = fastrand::Rng::with_seed(11);
    let mut number = || random.u64(..) >> random.u32(..64);
    for n in [0, 1, 250, 251, MAX_LIST - 1, MAX_LIST] {
        let mut names = |n: usize| (0..n).map(|_| string(MAX_NAME)).collect::<Vec<_>>();
        let (tags, parameters, needs) = (names(n.min(MAX_LIST)), names(3), names(1));
        let kinds = [Kind::Unary, Kind::Stream, Kind::Upload, Kind::Duplex, Kind::Operator];
        let functions = (0..n).map(|i| Offer {
            name: string(MAX_NAME),
            kind: kinds[i % kinds.len()],
            fingerprint: number(),
            parameters: parameters.clone(),
            signature: string(MAX_TEXT / 8),
            doc: string(MAX_TEXT / 8),
            needs: needs.clone(),
            concurrency: number(),
            timeout_ms: number(),
            idempotent: i % 2 == 0,
            tool: i % 3 == 0,
            schemas: string(MAX_SCHEMAS / 64).into(),
        });
        let functions = functions.collect();
        let register = Register { tags: tags.clone(), capacity: number(), functions };
        let id = string(MAX_NAME);
        let hello = Hello { role: Role::Admin, proof: None, id, boot: [9; 16], epoch: number() };
        for message in [
            Control::Register(register),
            Control::Hello(hello),
            Control::Retag(Retag { number: number(), tags }),
            Control::Credit(Credit { stream: number(), limit: number() }),
            Control::Ping(number()),
            Control::Released { stream: number() },
        ] {
            assert!(same(&Control::read(&encoded(&message)).unwrap(), &message), "{message:?}");
        }
    }
}

#[test]
fn names_have_a_limit_and_no_control_characters() {
    let retag = |name: &str| unlimited(10, &(1_u64, vec![name.to_owned()]));
    assert!(Control::read(&retag(&"x".repeat(MAX_NAME))).is_ok());
    let text = refusal(&retag(&"x".repeat(MAX_NAME + 1)));
    assert_eq!(text, "`retag`: a name of 129 bytes; the limit is 128");
    let text = refusal(&retag("a\x1b[2J"));
    assert_eq!(text, r#"`retag`: the name "a\u{1b}[2J" has control characters"#);
    assert!(refusal(&unlimited(10, &(1_u64, vec![vec![0xff_u8]]))).contains("invalid utf-8"));
}

#[test]
fn lists_have_a_limit() {
    let retag = |n: usize| unlimited(10, &(1_u64, vec!["x"; n]));
    assert!(Control::read(&retag(MAX_LIST)).is_ok());
    assert_eq!(refusal(&retag(MAX_LIST + 1)), "`retag`: more than 64 names");
    // A sender leaves nothing out: it is for the receiver to refuse.
    let tags = vec!["x".to_owned(); MAX_LIST + 1];
    assert!(Control::read(&encoded(&Control::Retag(Retag { number: 1, tags }))).is_err());
    let register = |n: usize| {
        let functions = vec![offer("f"); n];
        Control::Register(Register { tags: Vec::new(), capacity: 1, functions })
    };
    assert!(Control::read(&encoded(&register(MAX_FUNCTIONS))).is_ok());
    let text = refusal(&encoded(&register(MAX_FUNCTIONS + 1)));
    assert_eq!(text, "`register`: more than 1024 functions");
}

#[test]
fn long_names_and_texts_are_cut_by_the_sender_and_refused_by_the_receiver() {
    let long = "é".repeat(MAX_TEXT);
    let mut cut = offer(&long);
    (cut.signature, cut.doc) = (long.clone(), long.clone());
    let register = Register { tags: vec![long.clone()], capacity: 1, functions: vec![cut] };
    let read = Control::read(&encoded(&Control::Register(register))).unwrap();
    let Control::Register(Register { tags, functions, .. }) = read else { panic!("{read:?}") };
    let name = "é".repeat(MAX_NAME / 2);
    assert_eq!((&tags[..], &functions[0].name), (&[name.clone()][..], &name));
    assert_eq!((functions[0].doc.len(), functions[0].signature.len()), (MAX_TEXT, MAX_TEXT));
    let doc = "x".repeat(MAX_TEXT + 1);
    let none: Vec<String> = Vec::new();
    let function = ("f", 0_u8, 0_u64, none.clone(), "", doc, none.clone(), 0_u64);
    let text = refusal(&unlimited(4, &(none, 1_u64, vec![function])));
    assert_eq!(text, "`register`: a text of 4097 bytes; the limit is 4096");
}

#[test]
fn the_longest_hello_fits_before_the_proof() {
    let (role, proof) = (Role::Node, Some(Proof { token: [2; 8], tag: [3; 32] }));
    let (id, boot, epoch) = ("x".repeat(MAX_NAME), [0xff; 16], u64::MAX);
    let length = encoded(&Control::Hello(Hello { role, proof, id, boot, epoch })).len();
    assert!(length <= MAX_HELLO, "{length}");
}

/// A length that is not there is no reason to allocate: these would abort the process.
#[test]
fn lengths_beyond_the_message_are_refused() {
    for length in [1_u64 << 40, 1 << 62, u64::MAX] {
        let mut huge = Vec::new();
        fields::put(&length, &mut huge);
        for message in samples() {
            let body = encoded(&message);
            for at in 1..body.len() {
                for rest in [&body[at..], &body[at + 1..]] {
                    let _ = Control::read(&[&body[..at], &huge, rest].concat());
                }
            }
        }
        for list in [&[4_u8][..], &[4, 0, 1], &[10, 1]] {
            assert!(refusal(&[list, &huge].concat()).contains("more than"), "{list:?}");
        }
    }
}

#[test]
fn only_notes_may_be_unknown() {
    for tag in 0..=255 {
        let read = Control::read(&[tag, 0xff, 1, 2, 3]);
        match tag {
            3 | 5 | 8 | 9 | 15 => {}
            131.. => assert!(matches!(read, Ok(Control::Unknown(same)) if same == tag)),
            _ => assert!(read.is_err(), "{tag}: {read:?}"),
        }
    }
    assert_eq!(refusal(&[127, 1, 2, 3]), "control message of unknown tag 127");
}

#[test]
fn unknown_roles_and_kinds_are_refused() {
    let hello = |role: u8| unlimited(1, &(role, None::<u8>, "", [0_u8; 16], 0_u64));
    for role in Role::ALL {
        assert!(Control::read(&hello(role.code())).is_ok(), "{role:?}");
    }
    assert_eq!(refusal(&hello(4)), "`hello`: role 4 is unknown to this version");
    let none: Vec<String> = Vec::new();
    let register = |kind: u8| {
        let terms = (0_u64, 0_u64, false, false);
        let function = ("f", kind, 0_u64, none.clone(), "", "", none.clone(), terms, "");
        unlimited(4, &(none.clone(), 1_u64, vec![function]))
    };
    for kind in 0..5 {
        let read = Control::read(&register(kind)).unwrap();
        let Control::Register(register) = read else { panic!("{read:?}") };
        assert_eq!(Some(register.functions[0].kind), Kind::from_code(kind), "as in code");
    }
    assert!(refusal(&register(5)).contains('5'));
}

#[test]
fn figures_of_a_load_that_make_no_sense_are_dropped() {
    let body = unlimited(128, &(1_u64, 2_u64, 3_u64, Some(200_u8), Some((5_u64, 4_u64))));
    let load = NodeLoad::new((1, 1), None, (4, 4)).with_jobs(3);
    assert!(same(&Control::read(&body).unwrap(), &Control::Load(load)));
}

/// So many gauges, with the longest names, and values of any size.
fn gauges(n: usize) -> GaugeReport {
    let mut random = fastrand::Rng::with_seed(n as u64);
    let name = |i| format!("{:x<width$}", format!("g{i}_"), width = MAX_GAUGE_NAME);
    let any =
        iter::repeat_with(|| f64::from_bits(random.u64(..))).filter(|value| value.is_finite());
    let gauges: BTreeMap<_, _> = (0..n).map(name).zip(any).collect();
    assert_eq!(GaugeReport::new(&gauges).into_map(), gauges);
    GaugeReport::new(&gauges)
}

#[test]
fn gauges_that_make_no_sense_are_dropped() {
    let long = "x".repeat(MAX_GAUGE_NAME + 1);
    let sent = [
        ("fine", 1.5),
        ("twice", 1.0),
        ("", 2.0),
        ("with space", 2.0),
        ("9", 2.0),
        ("quo\"te", 2.0),
        ("back\\slash", 2.0),
        (&long, 2.0),
        ("nan", f64::NAN),
        ("infinite", f64::NEG_INFINITY),
        ("twice", -0.0),
    ];
    let sent = sent.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let Control::Gauges(read) = Control::read(&unlimited(130, &sent)).unwrap() else {
        panic!("gauges");
    };
    let expected = [("fine".to_owned(), 1.5), ("twice".to_owned(), -0.0)];
    assert_eq!(read.into_map(), expected.into());
}

#[test]
fn gauges_beyond_the_limits_are_refused() {
    let many: Vec<_> = (0..=MAX_GAUGES).map(|i| (format!("g{i}"), 1.0)).collect();
    assert!(refusal(&unlimited(130, &many)).contains("more than 32 gauges"));
    let endless = "x".repeat(MAX_NAME + 1);
    for name in [&*endless, "line\nfeed", "nul\0", "\u{7f}", "\u{202e}"] {
        refusal(&unlimited(130, &vec![(name.to_owned(), 1.0)]));
    }
    // A length that the message does not have.
    let mut cut = unlimited(130, &vec![("g".to_owned(), 1.0)]);
    cut[1] = 250;
    refusal(&cut);
}

#[test]
fn a_registration_above_the_limit_is_refused() {
    let (signature, doc) = ("x".repeat(MAX_TEXT), "x".repeat(MAX_TEXT));
    let functions = vec![Offer { signature, doc, ..offer("f") }; MAX_FUNCTIONS];
    let register = Register { tags: Vec::new(), capacity: 1, functions };
    assert!(Control::Register(register).put(&mut Vec::new()).is_err());
}
