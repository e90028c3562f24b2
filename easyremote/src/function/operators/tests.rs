//! Chains against a model, and their timers under a clock that the test moves.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::function::operators::applied::{AppliedItem, ItemFunction, RunningOperator};
use crate::function::operators::chain::OperatorChain;
use crate::function::operators::piece::{After, EncodedItem, Flow, ItemForm, Piece};
use crate::function::outcome::Value;
use crate::wire::codec::Codec;
use crate::wire::limits::MessageLimits;
use crate::wire::operators::{AppliedFunction, Operator, applied_in};
use crate::wire::value::ValueType;
use Operator::{Batches, Dedup, Every, Latest, Sample, Skip, Take, Through};

type Fault = &'static str;

/// What a function does, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Item(u32),
    Fault(Fault),
    End,
}

fn form() -> ItemForm {
    let limits = MessageLimits { max_message: 1_000, max_decoded: 1 << 20 };
    ItemForm { codec: Codec::Json, limits, of: ValueType::of::<u32>() }
}

/// Another type for the same bytes as `u32`.
#[derive(Serialize, Deserialize)]
struct Own(u32);

/// A function of items of type `T`.
enum Function<T, U> {
    Filter(fn(&T) -> bool),
    Map(fn(T) -> Option<U>),
}

impl<T: Value, U: Value> Function<T, U> {
    fn map(&self, item: T, out: &ItemForm) -> Result<AppliedItem, Error> {
        let changed = |item: Result<EncodedItem, Error>| item.map(AppliedItem::Changed);
        match self {
            Self::Filter(filter) if filter(&item) => {
                changed(EncodedItem::of(&item, &ItemForm { of: ValueType::of::<T>(), ..*out }))
            }
            Self::Filter(_) => Ok(AppliedItem::LeftOut),
            Self::Map(map) => map(item).map_or(Ok(AppliedItem::LeftOut), |item| {
                changed(EncodedItem::of(&item, &ItemForm { of: ValueType::of::<U>(), ..*out }))
            }),
        }
    }
}

impl<T: Value, U: Value> ItemFunction for Function<T, U> {
    fn apply(&mut self, slot: &mut dyn Any, out: &ItemForm) -> Option<Result<AppliedItem, Error>> {
        let slot = slot.downcast_mut::<Option<T>>()?;
        Some(match self {
            Self::Filter(filter) if filter(slot.as_ref()?) => Ok(AppliedItem::Unchanged),
            _ => self.map(slot.take()?, out),
        })
    }

    fn apply_encoded(&mut self, item: &EncodedItem, out: &ItemForm) -> Result<AppliedItem, Error> {
        self.map(item.decode(ValueType::of::<T>(), out.limits)?, out)
    }
}

/// The functions that a test applies by name: which items they take, and what they do.
fn function(name: &str) -> Box<dyn ItemFunction> {
    match name {
        "odd" => Box::new(Function::<u32, u32>::Filter(|n| n % 2 == 1)),
        "own" => Box::new(Function::<Own, Own>::Filter(|n| n.0 != 1)),
        "next" => Box::new(Function::<Own, u32>::Map(|n| Some(n.0 + 1))),
        "less" => Box::new(Function::<u32, Own>::Map(|n| n.checked_sub(1).map(Own))),
        "long" => Box::new(Function::<Vec<u32>, ()>::Filter(|list| list.len() > 1)),
        "sum" => {
            Box::new(Function::<Vec<Own>, u32>::Map(|list| Some(list.iter().map(|n| n.0).sum())))
        }
        "panics" => Box::new(Function::<u32, u32>::Map(|n| {
            assert_ne!(n, 2, "no two");
            Some(n)
        })),
        other => panic!("no function `{other}`"),
    }
}

fn through(name: &str) -> Operator {
    let (name, arguments) = (name.to_owned(), Vec::new());
    Through(Arc::new(AppliedFunction { name, fingerprint: 0, arguments }))
}

fn running(operators: &[Operator]) -> Vec<RunningOperator> {
    let start = |it: &Arc<AppliedFunction>| RunningOperator::new(it.clone(), function(&it.name));
    applied_in(operators).map(start).collect()
}

/// A chain, and what its function has ready.
struct Bench {
    chain: OperatorChain<u32, Fault>,
    ready: VecDeque<Event>,
}

impl Bench {
    fn new(operators: &[Operator], ready: &[Event]) -> Self {
        let ready = ready.iter().copied().collect();
        Self { chain: OperatorChain::new(operators, running(operators), form()), ready }
    }

    fn produce(&mut self, event: Event) {
        self.ready.push_back(event);
    }

    /// What comes out now, as text; `None` if nothing does.
    fn next(&mut self) -> Option<String> {
        let Self { chain, ready } = self;
        let mut source = |_: &mut Context<'_>| match ready.pop_front() {
            None => Poll::Pending,
            Some(Event::Item(n)) => Poll::Ready(Flow::Item(Piece::Value(n))),
            Some(Event::Fault(fault)) => Poll::Ready(Flow::After(After::Fault(fault))),
            Some(Event::End) => Poll::Ready(Flow::After(After::End)),
        };
        for _ in 0..1_000 {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(flow) = chain.poll(&mut source, &mut context) {
                return Some(text(flow));
            }
        }
        None
    }

    fn pump(&mut self) {
        let Self { chain, ready } = self;
        let mut source = |_: &mut Context<'_>| match ready.pop_front() {
            None => Poll::Pending,
            Some(Event::Item(n)) => Poll::Ready(Flow::Item(Piece::Value(n))),
            Some(_) => panic!("only items are pumped here"),
        };
        chain.pump(&mut source, &mut Context::from_waker(Waker::noop()));
    }

    /// Everything up to the end.
    fn all(mut self) -> Vec<String> {
        let mut all = Vec::new();
        while !self.chain.is_over() {
            match self.next().expect("the function has ended").as_str() {
                "end" => break,
                other => all.push(other.to_owned()),
            }
        }
        all
    }
}

fn text(flow: Flow<u32, Fault>) -> String {
    match flow {
        Flow::Item(Piece::Value(n)) => n.to_string(),
        Flow::Item(Piece::Encoded(EncodedItem { bytes, .. })) => String::from_utf8(bytes).unwrap(),
        Flow::After(After::Fault(fault)) => fault.to_owned(),
        Flow::After(After::Broken(error)) => error.to_string(),
        Flow::After(After::End) => "end".to_owned(),
    }
}

/// What the operators are documented to do with a finished stream. `Err` is a fault.
fn model(operators: &[Operator], items: Vec<Result<String, Fault>>) -> Vec<Result<String, Fault>> {
    operators.iter().fold(items, |items, operator| {
        let mut seen = 0;
        let mut pass = |keep: &dyn Fn(usize) -> bool| {
            let mut kept = items.clone();
            kept.retain(|item| {
                seen += usize::from(item.is_ok());
                item.is_err() || keep(seen - 1)
            });
            kept
        };
        match *operator {
            Take(n) => items.into_iter().take(n as usize).collect(),
            Skip(n) => pass(&|at| at >= n as usize),
            Every(n) => pass(&|at| at % n as usize == 0),
            Dedup => {
                let mut items = items;
                items.dedup_by(|one, two| one.is_ok() && one == two);
                items
            }
            Batches { items: n, .. } => {
                let (mut out, mut list) = (Vec::new(), Vec::<String>::new());
                let flush = |list: &mut Vec<String>, out: &mut Vec<_>| {
                    if !list.is_empty() {
                        out.push(Ok(format!("[{}]", list.join(","))));
                        list.clear();
                    }
                };
                for item in items {
                    match item {
                        Ok(item) => {
                            list.push(item);
                            if list.len() == n as usize {
                                flush(&mut list, &mut out);
                            }
                        }
                        Err(fault) => {
                            flush(&mut list, &mut out);
                            out.push(Err(fault));
                        }
                    }
                }
                flush(&mut list, &mut out);
                out
            }
            Through(ref applied) => {
                let apply = |item: Result<String, Fault>| match item {
                    Ok(item) => applied_to(&applied.name, item).map(Ok),
                    fault => Some(fault),
                };
                items.into_iter().filter_map(apply).collect()
            }
            Operator::Buffer(_) => items,
            Sample(_) | Latest => unreachable!("they depend on time"),
        }
    })
}

/// What a function makes of an item.
fn applied_to(name: &str, item: String) -> Option<String> {
    let list: Vec<u32> = match item.starts_with('[') {
        true => serde_json::from_str(&item).unwrap(),
        false => vec![item.parse().unwrap()],
    };
    match name {
        "odd" => (list[0] % 2 == 1).then_some(item),
        "own" => (list[0] != 1).then_some(item),
        "next" => Some((list[0] + 1).to_string()),
        "less" => list[0].checked_sub(1).map(|n| n.to_string()),
        "long" => (list.len() > 1).then_some(item),
        _ => Some(list.iter().sum::<u32>().to_string()),
    }
}

const LONG: Duration = Duration::from_secs(3_600);

/// A random operator of items that are in `depth` lists, which it changes.
fn random(depth: &mut u32) -> Operator {
    match (fastrand::u8(0..8), *depth) {
        (0, _) => Take(fastrand::u64(0..30)),
        (1, _) => Skip(fastrand::u64(0..5)),
        (2, _) => Every(fastrand::u64(1..4)),
        (3, _) => Dedup,
        (4, _) => {
            *depth += 1;
            Batches { items: fastrand::u64(1..4), wait: LONG }
        }
        (5 | 6, 0) => through(["odd", "own", "next", "less"][fastrand::usize(0..4)]),
        (5, 1) => through("long"),
        (6, 1) => {
            *depth = 0;
            through("sum")
        }
        _ => Operator::Buffer(fastrand::u64(..)),
    }
}

#[tokio::test(start_paused = true)]
async fn any_chain_does_what_its_operators_do_one_after_the_other() {
    fastrand::seed(11);
    let mut lengths = [0; 3];
    for round in 0..20_000 {
        let mut depth = 0;
        let operators: Vec<_> = (0..fastrand::usize(1..=16)).map(|_| random(&mut depth)).collect();
        let events: Vec<_> = (0..fastrand::usize(0..60))
            .map(|_| match fastrand::u8(0..8) {
                0 => Event::Fault("fault"),
                _ => Event::Item(fastrand::u32(0..3)),
            })
            .collect();
        let items = events.iter().map(|event| match event {
            Event::Item(n) => Ok(n.to_string()),
            _ => Err("fault"),
        });
        let expected: Vec<_> = model(&operators, items.collect())
            .into_iter()
            .map(|item| item.unwrap_or_else(str::to_owned))
            .collect();
        let mut bench = Bench::new(&operators, &events);
        bench.produce(Event::End);
        lengths[expected.len().min(2)] += 1;
        assert_eq!(bench.all(), expected, "{round}: {operators:?} of {events:?}");
    }
    assert!(lengths.iter().all(|n| *n > 500), "{lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_function_is_not_asked_for_more_than_is_taken() {
    let events: Vec<_> = (0..100).map(Event::Item).collect();
    let operators = [Skip(2), Take(6), Batches { items: 4, wait: LONG }, Dedup];
    let mut bench = Bench::new(&operators, &events);
    assert_eq!(bench.next().as_deref(), Some("[2,3,4,5]"));
    assert!(!bench.chain.is_over());
    assert_eq!(bench.next().as_deref(), Some("[6,7]"));
    assert!(bench.chain.is_over());
    assert_eq!((bench.ready.len(), bench.chain.skipped()), (92, 2));
}

#[tokio::test(start_paused = true)]
async fn latest_passes_the_newest_when_it_is_asked() {
    let mut bench = Bench::new(&[Latest], &[]);
    assert_eq!(bench.next(), None);
    let mut newest = 0;
    for _ in 0..100 {
        let n = fastrand::u32(1..300);
        (0..n).for_each(|_| {
            newest += 1;
            bench.produce(Event::Item(newest));
        });
        while !bench.ready.is_empty() {
            bench.pump();
        }
        assert_eq!(bench.next(), Some(newest.to_string()));
        assert_eq!(bench.next(), None);
    }
    assert_eq!(bench.chain.skipped(), u64::from(newest) - 100);
    // What comes after an item does not replace it.
    for event in [Event::Item(1), Event::Item(2), Event::Fault("fault"), Event::Item(3)] {
        bench.produce(event);
    }
    assert_eq!(bench.next().as_deref(), Some("2"));
    assert!(!bench.chain.pumps() && bench.ready.len() == 1, "it waits behind the error");
    assert_eq!(bench.next().as_deref(), Some("fault"));
    assert!(bench.chain.pumps());
    bench.produce(Event::End);
    assert_eq!(bench.next().as_deref(), Some("3"));
    assert_eq!(bench.next().as_deref(), Some("end"));
}

#[tokio::test(start_paused = true)]
async fn sample_passes_one_item_per_interval() {
    let second = Duration::from_secs(1);
    let mut bench = Bench::new(&[Sample(second)], &[Event::Item(1), Event::Item(2)]);
    assert_eq!(bench.next().as_deref(), Some("2"), "the first passes at once");
    bench.produce(Event::Item(3));
    assert_eq!(bench.next(), None);
    tokio::time::advance(second / 2).await;
    bench.produce(Event::Item(4));
    assert_eq!(bench.next(), None);
    tokio::time::advance(second / 2).await;
    assert_eq!(bench.next().as_deref(), Some("4"), "at its end the newest");
    tokio::time::advance(second * 3).await;
    assert_eq!(bench.next(), None);
    bench.produce(Event::Item(5));
    assert_eq!(bench.next().as_deref(), Some("5"), "after a pause at once");
    for event in [Event::Item(6), Event::Fault("fault"), Event::Item(7), Event::End] {
        bench.produce(event);
    }
    // Neither an error nor the end waits.
    for expected in ["6", "fault", "7", "end"] {
        assert_eq!(bench.next().as_deref(), Some(expected));
    }
    assert_eq!(bench.chain.skipped(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_leaves_when_its_time_is_over_or_its_message_is_full() {
    let second = Duration::from_secs(1);
    let batches = Batches { items: 1_000, wait: second };
    let mut bench = Bench::new(&[batches], &[Event::Item(1)]);
    assert_eq!(bench.next(), None);
    tokio::time::advance(second / 2).await;
    bench.produce(Event::Item(2));
    assert_eq!(bench.next(), None);
    tokio::time::advance(second / 2).await;
    assert_eq!(bench.next().as_deref(), Some("[1,2]"));
    tokio::time::advance(second * 2).await;
    assert_eq!(bench.next(), None, "no batch is empty");
    // Of four bytes each, with the comma, in messages of at most 1,000 bytes.
    (100..700).for_each(|n| bench.produce(Event::Item(n)));
    bench.produce(Event::End);
    let (mut all, mut lengths) = (String::new(), Vec::new());
    while let Some(list) = bench.next().filter(|next| next != "end") {
        lengths.push(list.len());
        all.push_str(&list);
    }
    assert!(lengths.len() == 3 && lengths.iter().all(|length| *length <= 1_000), "{lengths:?}");
    let expected = (100..700).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(all.replace("][", ",").trim_matches(['[', ']']), expected);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_no_message_can_hold_ends_the_stream() {
    // Each level of brackets takes two bytes more.
    let mut operators = vec![Batches { items: 500, wait: LONG }];
    operators.extend((0..8).map(|_| Batches { items: 1, wait: LONG }));
    let events: Vec<_> = (0..400).map(|_| Event::Item(10)).chain([Event::End]).collect();
    let broken = Bench::new(&operators, &events).next().unwrap();
    assert!(broken.contains("bytes, and a message may have 1000"), "{broken}");
}

#[tokio::test(start_paused = true)]
async fn what_each_function_leaves_out_is_counted() {
    let events: Vec<_> = (0..20).map(Event::Item).collect();
    let operators = [Skip(1), through("odd"), through("less"), through("own"), Take(3)];
    let mut bench = Bench::new(&operators, &events);
    bench.chain = bench.chain.counting_each();
    for (expected, each) in [("0", [0, 0, 0]), ("2", [1, 0, 0]), ("4", [2, 0, 0])] {
        assert_eq!(bench.next().as_deref(), Some(expected));
        assert_eq!(bench.chain.skipped_by_each(), each);
        assert_eq!(bench.chain.skipped(), 1 + each.iter().sum::<u64>());
    }
    assert!(bench.chain.is_over());
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_ends_the_stream_with_its_name() {
    for operators in
        [vec![through("panics")], vec![through("odd"), through("next"), through("panics")]]
    {
        let mut bench = Bench::new(&operators, &[1, 3, 1, 2, 1].map(Event::Item));
        let mut last = bench.next().unwrap();
        while last.parse::<u32>().is_ok() {
            last = bench.next().unwrap();
        }
        assert!(
            last.contains("the operator `panics` panicked") && last.contains("no two"),
            "{last}"
        );
    }
}
