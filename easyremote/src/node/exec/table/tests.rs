use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::error::ErrorKind;
use crate::function::descriptor::Descriptor;
use crate::function::handler::{Handler, Run};
use crate::function::signature::Signature;
use crate::transport::connection::{ConnectionState, ManagedConnection};
use crate::transport::io::Io;
use crate::transport::io::role::IoRole;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::codec::Codec;
use crate::wire::control::Role;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::MessageLimits;
use crate::wire::value::ValueType;

pub(in crate::node::exec) fn function(detached: bool) -> Arc<Function> {
    static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| {
        let unit = ValueType::of::<()>();
        Signature {
            fingerprint: 7,
            text: "()".to_owned(),
            arguments: Vec::new(),
            upload: unit,
            setup_failure: unit,
            value: unit,
            failure: unit,
            refused: None,
            untried: Vec::new(),
        }
    });
    let handler = Handler::new(Run::Blocking(Arc::new(|_, _| Reply::new())));
    Arc::new(Function {
        name: "f".into(),
        instance: None,
        meter: Arc::default(),
        descriptor: Descriptor::new("f", Kind::Unary, "", 0),
        signature: &SIGNATURE,
        handler: if detached { handler.detached() } else { handler },
    })
}

fn context(detached: bool) -> Context {
    let header = CallHeader::new([7; 16], "f".to_owned(), Kind::Unary, Codec::Bincode);
    context_of(header, "default", detached)
}

/// The context of a call that `identity` makes.
pub(in crate::node::exec) fn context_of(
    header: CallHeader,
    identity: &str,
    detached: bool,
) -> Context {
    static IO: LazyLock<IoRole> = LazyLock::new(|| {
        IoRole::start(Io::Thread, |stop, _| async move { stop.cancelled().await }).unwrap()
    });
    let limits = MessageLimits { max_message: 1, max_decoded: 1 };
    let (_, state) = watch::channel(ConnectionState::Connecting);
    let link = ManagedConnection::new(IO.tasks().clone(), state, Duration::ZERO, limits).unwrap();
    let caller = KnownCaller::new(Caller {
        role: Role::Client,
        id: "c".to_owned(),
        identity: identity.to_owned(),
        address: "127.0.0.1:1".parse().unwrap(),
    });
    Context::new("n".into(), header, caller, None, Arc::default(), detached, link.into())
}

fn call(detached: bool, deadline: Option<Instant>) -> RunningCall {
    RunningCall::new(function(detached), Responder::Mux, deadline, context(detached), None)
}

const KEY: CallKey = CallKey::Mux(1);
const STREAM: u64 = 9;

/// Every event before a function starts, and whether the function still starts after it.
#[test]
fn a_function_starts_only_if_somebody_waits_for_it() {
    let past = Some(Instant::now() - Duration::from_millis(1));
    let future = Some(Instant::now() + Duration::from_secs(3_600));
    type Event = fn(&mut CallTable);
    let nothing: Event = |_| {};
    let give_up: Event = |table| {
        table.give_up(KEY);
    };
    let fail: Event = |table| table.fail(KEY, Error::new(ErrorKind::BadArguments, "test"));
    let close: Event = CallTable::close;
    for (what, detached, deadline, event, starts) in [
        ("waits", false, None, nothing, true),
        ("has time left", false, future, nothing, true),
        ("is late", false, past, nothing, false),
        ("is detached and late", true, past, nothing, false),
        ("was given up", false, None, give_up, false),
        ("was given up with time left", false, future, give_up, false),
        ("is detached and was given up", true, None, give_up, true),
        ("is detached, was given up and is late", true, past, give_up, true),
        ("has failed", false, None, fail, false),
        ("is detached and has failed", true, None, fail, false),
        ("has lost its gateway", false, None, close, false),
        ("is detached and has lost its gateway", true, None, close, true),
    ] {
        let mut table = CallTable::default();
        table.insert(KEY, call(detached, deadline));
        event(&mut table);
        let expected = if starts { Begin::Start } else { Begin::Refuse };
        assert_eq!(table.begin(KEY), expected, "a call that {what}");
        assert!(table.remove(KEY).is_some_and(|call| call.started == starts), "{what}");
        assert_eq!(table.begin(KEY), Begin::Refuse, "{what}: it is gone");
    }
}

#[test]
fn a_task_that_comes_after_the_end_of_its_call_is_aborted() {
    for (detached, fails) in [(false, false), (false, true), (true, false), (true, true)] {
        for before in [false, true] {
            let mut table = CallTable::default();
            table.insert(KEY, call(detached, None));
            let (abort, _registration) = AbortHandle::new_pair();
            if before {
                table.set_abort(KEY, abort.clone());
            }
            match fails {
                true => table.fail(KEY, Error::new(ErrorKind::BadArguments, "test")),
                false => assert!(table.give_up(KEY)),
            }
            if !before {
                table.set_abort(KEY, abort.clone());
            }
            // A detached function runs on without its caller, but not without its input.
            assert_eq!(abort.is_aborted(), !detached || fails, "{detached} {fails} {before}");
        }
    }
    let (abort, _registration) = AbortHandle::new_pair();
    CallTable::default().set_abort(KEY, abort.clone());
    assert!(abort.is_aborted(), "its call is over");
}

/// The gateway's message may arrive before its stream, while the call is read, while it runs, or
/// after it.
#[test]
fn a_place_is_released_once_whenever_the_stream_is_abandoned() {
    let key = CallKey::Stream(STREAM);
    for when in 0..4 {
        let mut table = CallTable::default();
        let mut released = 0;
        let abandon = |table: &mut CallTable, now: usize| {
            usize::from(now == when && !table.abandon_stream(STREAM))
        };
        released += abandon(&mut table, 0);
        table.accept_stream(STREAM);
        released += abandon(&mut table, 1);
        if table.end_reading(STREAM) {
            table.insert(key, call(false, None));
            released += abandon(&mut table, 2);
            let call = table.remove(key).unwrap();
            released += usize::from(call.release_wanted);
        } else {
            released += 1;
        }
        released += abandon(&mut table, 3);
        assert_eq!(released, 1, "{when}");
        assert!(table.reading.is_empty() && table.calls.is_empty(), "{when}");
    }
}

#[test]
fn calls_expire_at_their_deadlines() {
    let now = Instant::now();
    let at = |seconds| Some(now + Duration::from_secs(seconds));
    let mut table = CallTable::default();
    assert!(table.insert(CallKey::Mux(1), call(false, at(5))));
    assert!(table.insert(CallKey::Stream(1), call(false, at(3))));
    assert!(!table.insert(CallKey::Mux(2), call(false, None)));
    table.expire(now + Duration::from_secs(4));
    let cancelled = |key| table.calls[&key].context.is_cancelled();
    assert!(cancelled(CallKey::Stream(1)) && !cancelled(CallKey::Mux(1)));
    assert!(!cancelled(CallKey::Mux(2)));
    assert_eq!(table.next_deadline(), at(5));
}
