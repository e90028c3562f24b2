use super::*;
use crate::error::ErrorKind;

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
        Control::Load(NodeLoad::new((2, 1), Some(50), (1 << 30, 4 << 30))),
        Control::Unknown(255),
    ]
}

#[test]
fn messages_survive_the_wire() {
    for message in samples() {
        let mut out = Vec::new();
        message.put(&mut out).unwrap();
        let back = Control::read(&out[FRAME_HEADER..]).unwrap();
        assert_eq!(format!("{message:?}"), format!("{back:?}"));
    }
}

#[test]
fn every_cut_is_an_error() {
    for message in samples() {
        let mut out = Vec::new();
        message.put(&mut out).unwrap();
        for end in FRAME_HEADER..out.len() {
            assert!(Control::read(&out[FRAME_HEADER..end]).is_err(), "{message:?} at {end}");
        }
    }
}

#[test]
fn more_tags_than_a_node_may_have_are_refused() {
    let mut out = Vec::new();
    let tags = vec!["x".to_owned(); MAX_LIST + 1];
    Control::Retag(Retag { number: 1, tags }).put(&mut out).unwrap();
    assert!(Control::read(&out[FRAME_HEADER..]).is_err());
}

#[test]
fn only_notes_may_be_unknown() {
    assert!(matches!(Control::read(&[200, 1, 2, 3]), Ok(Control::Unknown(200))));
    assert!(Control::read(&[127, 1, 2, 3]).is_err());
}

#[test]
fn a_registration_above_the_limit_is_refused() {
    let offer = Offer {
        name: "f".into(),
        kind: Kind::Unary,
        fingerprint: 0,
        parameters: Vec::new(),
        signature: "x".repeat(MAX_TEXT),
        doc: "x".repeat(MAX_TEXT),
        needs: Vec::new(),
        concurrency: 0,
    };
    let functions = vec![offer; MAX_FUNCTIONS];
    let register = Register { tags: Vec::new(), capacity: 1, functions };
    assert!(Control::Register(register).put(&mut Vec::new()).is_err());
}
