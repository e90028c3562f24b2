//! Calls that continue streams, from those who may not, and from those who ask for what is not there.

use common::hostile::attacker::Insider;
use common::hostile::wire::{self, Frame};
use common::{soon, until};
use easyremote::Role;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quinn::{RecvStream, SendStream};

use super::kept::{ATTACHED, CONTINUE, Kept, START};
use super::target::Target;

const GAP: u64 = 21;

/// Opens a leg of a call of an endless stream.
async fn open_leg(kept: Kept, insider: &Insider, step: u8) -> (SendStream, RecvStream) {
    // The option for operators: there are none.
    insider.open(&kept.call("numbers", wire::STREAM, step, &[21, 0])).await
}

async fn next(recv: &mut RecvStream) -> Frame {
    soon(wire::read(recv)).await.unwrap()
}

#[tokio::test]
async fn a_stream_is_continued_by_its_caller_with_its_secret_and_by_nobody_else() {
    let target =
        Target::of(|gateway| gateway.token(Role::Client, "other").token(Role::Client, "ci"));
    let target = target.await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let kept = Kept::new();
    let (first, mut recv) = open_leg(kept, &insider, START).await;
    for expected in [ATTACHED, wire::OPEN, wire::ITEM] {
        assert_eq!(next(&mut recv).await.0, expected);
    }
    let ticket = target.gateway.ticket_of(Role::Client, "other").unwrap().to_string();
    let other = Insider::client(target.address(), &ticket).await;
    let mut answers = Vec::new();
    for (caller, wrong) in [
        (&other, kept),
        (&insider, Kept { secret: [7; 16], ..kept }),
        (&insider, Kept { id: [7; 16], ..kept }),
        (&insider, Kept::new()),
    ] {
        let (_send, mut recv) = open_leg(wrong, caller, CONTINUE).await;
        let answer = next(&mut recv).await;
        assert_eq!(wire::kind_of(&answer), GAP);
        answers.push(answer);
    }
    // Nobody learns which streams there are.
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // The caller itself goes on, here over another connection, and the older leg ends.
    let again = Insider::client(target.address(), &target.client_ticket()).await;
    let (second, mut continued) = open_leg(Kept { taken: 1, ..kept }, &again, CONTINUE).await;
    for expected in [ATTACHED, wire::ITEM] {
        assert_eq!(next(&mut continued).await.0, expected);
    }
    soon(async { while wire::read(&mut recv).await.is_some() {} }).await;
    // What has been taken does not come back.
    let (_send, mut recv) = open_leg(kept, &again, CONTINUE).await;
    assert_eq!(wire::kind_of(&next(&mut recv).await), GAP);
    // Asking for it ends nothing, nor does the end of the leg that was replaced.
    for _ in 0..1_000 {
        assert_eq!(next(&mut continued).await.0, wire::ITEM);
    }
    drop((first, second, continued));
    again.connection.close(quinn::VarInt::from_u32(12 * 4 + 1), b"for good");
    until(|| target.gateway.stats().in_flight == 0 && target.node.stats().in_flight == 0).await;
    target.serves().await;
}

#[tokio::test]
async fn a_flood_of_calls_that_continue_nothing_holds_nobody_up() {
    let target = Target::of(|gateway| gateway).await;
    let mut floods = Vec::new();
    for _ in 0..4 {
        floods.push(Insider::client(target.address(), &target.client_ticket()).await);
    }
    let mut calls: FuturesUnordered<_> = floods
        .iter()
        .flat_map(|insider| std::iter::repeat_n(insider, 250))
        .map(async |insider| {
            let (_send, mut recv) = open_leg(Kept::new(), insider, CONTINUE).await;
            wire::kind_of(&next(&mut recv).await)
        })
        .collect();
    let mut refused = [0; 2];
    while let Some(kind) = calls.next().await {
        match kind {
            GAP => refused[0] += 1,
            wire::OVERLOADED => refused[1] += 1,
            other => panic!("error of kind {other}"),
        }
        target.serves().await;
    }
    assert_eq!(refused.iter().sum::<u32>(), 1_000, "{refused:?}");
    assert_eq!(target.node.stats().in_flight, 0);
    until(|| target.gateway.stats().in_flight == 0).await;
}
