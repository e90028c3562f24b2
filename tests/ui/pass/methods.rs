//! Blocks of methods: every kind of method, and every place and form of a block.
#![deny(warnings, private_interfaces, private_bounds)]

use easyremote::{Call, CallError, Client, Context, Error, StreamCall, functions, remote};
use futures::{Stream, StreamExt, stream};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Query(String);

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Point(i64);

struct Log;

// Private, with public methods that take private types: nobody outside can reach either.
struct Index {
    rows: Vec<u64>,
}

#[remote]
impl Index {
    #![allow(clippy::unused_self)]

    const WIDTH: usize = 4;

    pub fn new() -> Self {
        Self { rows: vec![1, 2, 3] }
    }

    pub fn search(&self, query: Query) -> Result<Query, Query> {
        if query.0.is_empty() { Err(query) } else { Ok(query) }
    }

    #[remote(stream)]
    pub async fn rows(&self, _query: Query) -> Result<impl Stream<Item = Result<u64, Query>>, Query> {
        Ok(stream::iter(&self.rows).map(|row| Ok(*row)))
    }

    pub async fn upload(&self, #[state] _log: &Log, points: impl Stream<Item = Point>) -> u64 {
        points.count().await as u64
    }

    #[remote(stream)]
    fn private(&self, #[ctx] _: &Context) -> Box<dyn Iterator<Item = u64> + '_> {
        Box::new(self.rows.iter().copied())
    }

    #[must_use]
    #[deprecated]
    pub(crate) fn width(&self, row: [u8; Self::WIDTH]) -> usize {
        row.len()
    }

    #[cfg(any())]
    pub fn absent(&self, a: DoesNotExist) {}

    #[cfg(unix)]
    pub fn platform(&self) -> String {
        "unix".to_owned()
    }

    #[cfg(not(unix))]
    pub fn platform(&self) -> String {
        "another".to_owned()
    }

    #[remote(skip)]
    pub fn sort<T: Ord>(&mut self, by: impl Fn(&u64) -> T) {
        self.rows.sort_by_key(by);
    }

    fn r#type(&self, r#match: u8) -> u8 {
        r#match
    }

    #[remote(name = "first", stub = First, timeout = "5m", inline)]
    pub fn one(&self) -> Option<u64> {
        self.rows.first().copied()
    }
}

// Other blocks are of no concern.
impl Index {
    fn rest(&mut self) -> &[u64] {
        &self.rows[1..]
    }
}

#[remote]
impl Point {
    /// What a value of its own type can be: `Self` where it stands for the type.
    fn add(&self, other: Self, others: Vec<Self>) -> Option<Self> {
        Some(Self(self.0 + other.0 + others.iter().map(|it| it.0).sum::<i64>()))
    }
}

/// A generic type, of which one is remote.
struct Scaled<T>(T);

#[easyremote::remote(stub = ScaledHandle, name = "scale.F32")]
impl Scaled<f32> {
    #[easyremote::remote(inline)]
    pub(crate) fn scale(&self, by: f32) -> f32 {
        self.0 * by
    }
}

mod api {
    pub mod inner {
        pub struct Counter(pub std::sync::Mutex<u64>);
    }

    #[easyremote::remote]
    impl inner::Counter {
        pub(super) fn count(&self, by: u64) -> u64 {
            let mut count = self.0.lock().unwrap();
            *count += by;
            *count
        }
    }
}

#[cfg(any())]
#[remote]
impl DoesNotExist {
    fn f(&self) {}
}

#[remote]
#[cfg(any())]
impl DoesNotExist {
    fn f(&self) {}
}

#[allow(deprecated)]
async fn callers(client: Client) -> Result<(), Error> {
    let index = Index::remote(&client);
    let found: Result<Query, CallError<Query>> = index.search(Query(String::new())).await;
    let _ = found;
    let _rows: StreamCall<Index_rows> = index.rows(Query(String::new()));
    let _: u64 = index.upload(stream::iter([Point(1)])).on("node").await?;
    let _: Option<Result<u64, Error>> = index.private().next().await;
    let _: usize = index.width([1; 4]).await?;
    let _: String = index.platform().await?;
    let _: u8 = index.r#type(1).await?;
    let first: Call<First> = IndexClient::new(&client).instance("small").one();
    let _: Option<u64> = first.await?;
    let _: Option<Point> = Point::remote(&client).add(Point(1), vec![]).await?;
    let handle: ScaledHandle = Scaled::<f32>::remote(&client);
    let _: f32 = handle.scale(2.0).await?;
    let _: u64 = api::inner::Counter::remote(&client).count(1).await?;
    Ok(())
}

fn in_a_function() -> easyremote::node::Functions {
    struct Local;

    #[remote]
    impl Local {
        fn number(&self) -> u8 {
            1
        }
    }

    assert_eq!(Local.number(), 1);
    functions![Local]
}

fn main() {
    let _ = (callers, in_a_function());
    let mut index = Index::new();
    index.sort(|row| std::cmp::Reverse(*row));
    assert_eq!(index.rest(), [2, 1]);
    assert!(index.search(Query("x".into())).is_ok());
    let functions = functions![Index, Point, Scaled<f32>, api::inner::Counter, First];
    let names: Vec<&str> = functions.names().collect();
    assert!(names.starts_with(&["Index.search", "Index.rows", "Index.upload"]), "{names:?}");
    assert!(names.ends_with(&["scale.F32.scale", "Counter.count", "Index.first"]), "{names:?}");
    assert!(names.contains(&"Index.type") && !names.contains(&"Index.absent"), "{names:?}");
}
