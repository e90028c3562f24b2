//! What it costs a gateway to find the node for a call, from the access check to the freed permit:
//! about the same with one node and with a thousand, but for sticky keys and for nodes that are all
//! busy, where every node is looked at.
//!
//! `cargo bench --bench routing`

use criterion::{Criterion, criterion_group, criterion_main};
use easyremote::__bench::{Pool, Wanted};

fn routing(criterion: &mut Criterion) {
    let mut pools: Vec<_> = [1, 10, 100, 1_000].map(|nodes| (nodes, Pool::new(nodes))).into();
    for (name, wanted) in [
        ("any node", Wanted::Any),
        ("a tag of one node", Wanted::TagOfOne),
        ("a preferred tag of one node", Wanted::PreferredTagOfOne),
        ("a sticky key", Wanted::Sticky),
        ("a certain node", Wanted::Node),
    ] {
        for (nodes, pool) in &mut pools {
            criterion.bench_function(&format!("{name}/{nodes}"), |bencher| {
                bencher.iter(|| assert!(pool.pick(wanted)));
            });
        }
    }
    for (nodes, pool) in &mut pools {
        pool.fill();
        criterion.bench_function(&format!("all are busy/{nodes}"), |bencher| {
            bencher.iter(|| assert!(!pool.pick(Wanted::Any)));
        });
    }
}

criterion_group!(benches, routing);
criterion_main!(benches);
