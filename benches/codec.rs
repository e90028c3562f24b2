//! What a call costs where there is no network: values and headers encoded and decoded, and the path
//! that `#[remote]` generates, from the stub to the function and back.
//!
//! `cargo bench --bench codec`

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};
use easyremote::__bench::{Argument, ControlMessage, Direct, Format, Header, Local, RemoteUnary};
use easyremote::remote;
use serde::{Deserialize, Serialize};

const KIB: usize = 1024;
const FORMATS: [(&str, Format); 2] = [("bincode", Format::Bincode), ("JSON", Format::Json)];

/// Small and flat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    sensor: u32,
    time: u64,
    value: f64,
    valid: bool,
}

/// Strings at several levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    url: String,
    title: Option<String>,
    headers: Vec<(String, String)>,
    links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Link {
    href: String,
    text: String,
}

/// Numbers that are not the whole value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Embedding {
    model: String,
    values: Vec<f32>,
}

fn reading() -> Reading {
    Reading { sensor: 7, time: 1_763_800_000_000, value: 21.5, valid: true }
}

/// 38 strings, with 1,002 bytes in all.
fn page() -> Page {
    let link = |n: usize| Link {
        href: format!("https://example.org/articles/{n:04}"),
        text: format!("the article number {n:04}"),
    };
    let header = |name: &str| (name.to_owned(), "text/html; charset=utf-8".to_owned());
    Page {
        url: "https://example.org/articles".to_owned(),
        title: Some("all articles".to_owned()),
        headers: ["accept", "content-type"].map(header).into(),
        links: (0..16).map(link).collect(),
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| i as u8).collect()
}

fn floats(length: usize) -> Vec<f32> {
    (0..length).map(|i| i as f32 * 0.37).collect()
}

/// The result of a function on its way into a frame, and an argument on its way out of one.
fn value<T>(criterion: &mut Criterion, name: &str, value: &T, throughput: Throughput)
where
    T: Argument + Clone + PartialEq + std::fmt::Debug,
{
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput);
    for (format_name, format) in FORMATS {
        group.bench_function(format!("encode/{format_name}"), |bencher| {
            bencher.iter(|| format.encode(black_box(value)).unwrap());
        });
        let body = format.arguments(value).unwrap();
        assert_eq!(format.decode::<T>(&body).as_ref(), Ok(value));
        group.bench_function(format!("decode/{format_name}"), |bencher| {
            bencher.iter(|| format.decode::<T>(black_box(&body)).unwrap());
        });
    }
}

fn values(criterion: &mut Criterion) {
    value(criterion, "small struct", &reading(), Throughput::Elements(1));
    value(criterion, "nested struct of strings", &page(), Throughput::Elements(1));
    let size = Throughput::Bytes(64 * KIB as u64);
    value(criterion, "Vec<u8> of 64 KiB", &bytes(64 * KIB), size.clone());
    value(criterion, "Bytes of 64 KiB", &Bytes::from(bytes(64 * KIB)), size);
    let size = Throughput::Bytes(256 * KIB as u64);
    value(criterion, "Vec<f32> of 256 KiB", &floats(64 * KIB), size.clone());
    let embedding = Embedding { model: "model".to_owned(), values: floats(64 * KIB) };
    value(criterion, "Vec<f32> of 256 KiB in a struct", &embedding, size);
}

/// What to compare those with: the same bytes, copied as one piece.
fn copies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    for length in [64 * KIB, 256 * KIB] {
        let bytes = bytes(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("{} KiB", length / KIB), |bencher| {
            bencher.iter(|| black_box(&bytes).clone());
        });
    }
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call header");
    for (name, header) in [
        ("plain", Header::of_client()),
        ("with its caller", Header::of_gateway()),
        ("with options", Header::with_options()),
    ] {
        let mut frame = Vec::new();
        group.bench_function(format!("put/{name}"), |bencher| {
            bencher.iter(|| {
                frame.clear();
                assert!(black_box(&header).put(&mut frame));
            });
        });
        frame.clear();
        assert!(header.put(&mut frame));
        group.bench_function(format!("read/{name}"), |bencher| {
            bencher.iter(|| Header::read(black_box(&frame)).unwrap());
        });
    }
}

fn control(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("control message");
    for (name, message) in [
        ("ping", ControlMessage::ping()),
        ("credit", ControlMessage::credit()),
        ("register of 100 functions", ControlMessage::register(100)),
    ] {
        let mut frame = Vec::new();
        group.bench_function(format!("put/{name}"), |bencher| {
            bencher.iter(|| {
                frame.clear();
                assert!(black_box(&message).put(&mut frame));
            });
        });
        frame.clear();
        assert!(message.put(&mut frame));
        group.bench_function(format!("read/{name}"), |bencher| {
            bencher.iter(|| ControlMessage::read(black_box(&frame)).unwrap());
        });
    }
}

#[remote(inline)]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
async fn add_async(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn divide(a: i64, b: i64) -> Result<i64, String> {
    a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
}

#[remote(inline)]
fn echo_page(page: Page) -> Page {
    page
}

#[remote(inline)]
fn echo_bytes(bytes: Bytes) -> Bytes {
    bytes
}

fn whole<F: RemoteUnary + Local>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    arguments: &F::Arguments,
) {
    let direct = Direct::<F>::unconnected();
    group.bench_function(name, |bencher| {
        bencher.iter(|| direct.call(black_box(arguments)));
    });
}

fn generated(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stub to stub");
    whole::<add>(&mut group, "inline function", &(1, 2));
    whole::<add_async>(&mut group, "async function", &(1, 2));
    whole::<divide>(&mut group, "sync function", &(1, 2));
    whole::<divide>(&mut group, "the function's own error", &(1, 0));
    whole::<echo_page>(&mut group, "nested struct of strings", &(page(),));
    whole::<echo_bytes>(&mut group, "Bytes of 8 KiB", &(bytes(8 * KIB).into(),));

    let direct = Direct::<add>::unconnected();
    let request = direct.request(&(1, 2)).unwrap();
    let answer = direct.answer(request.clone()).unwrap();
    assert_eq!(direct.result(answer.clone()).unwrap(), 3);
    group.bench_function("inline function: request", |bencher| {
        bencher.iter(|| direct.request(black_box(&(1, 2))).unwrap());
    });
    group.bench_function("inline function: answer", |bencher| {
        let request = || request.clone();
        bencher.iter_batched(
            request,
            |request| direct.answer(request).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("inline function: result", |bencher| {
        let answer = || answer.clone();
        bencher.iter_batched(
            answer,
            |answer| direct.result(answer).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group!(
    name = benches;
    config = short();
    targets = values, copies, headers, control, generated
);
criterion_main!(benches);
