//! Generated code is silent under the lints that careful crates turn on.
#![deny(warnings, missing_docs, missing_debug_implementations, missing_copy_implementations)]
#![deny(
    unreachable_pub,
    unused_qualifications,
    unused_results,
    unused_lifetimes,
    unused_import_braces
)]
#![deny(trivial_casts, trivial_numeric_casts, single_use_lifetimes, let_underscore_drop)]
#![deny(elided_lifetimes_in_paths, explicit_outlives_requirements, variant_size_differences)]
#![deny(non_camel_case_types, non_snake_case, dead_code, private_interfaces, private_bounds)]
#![forbid(unsafe_code)]

use easyremote::remote;
use futures::{Stream, stream};

/// A reading.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Reading(pub f64);

#[derive(serde::Serialize, serde::Deserialize)]
struct Private;

/// Adds.
#[remote]
pub fn add(a: i64, mut b: i64) -> i64 {
    b += a;
    b
}

/// Divides.
#[remote(inline)]
pub fn divide(a: i64, b: i64) -> Result<i64, String> {
    a.checked_div(b).ok_or_else(|| "by zero".to_owned())
}

/// Counts.
#[remote(stream)]
pub async fn count(to: u64) -> Result<impl Iterator<Item = Result<u64, String>>, String> {
    Ok((0..to).map(Ok))
}

/// Reads.
#[remote(stream)]
pub fn readings() -> impl Stream<Item = Reading> {
    stream::iter([Reading(1.0)])
}

/// Declared.
#[remote(idempotent)]
pub fn declared(a: i64) -> Result<i64, String>;

/// Implements.
#[remote(implements = declared, detached, concurrency = 2, needs = "gpu")]
pub fn implements(a: i64) -> Result<i64, String> {
    Ok(a)
}

/// Fails with text.
#[remote(err = "display")]
pub fn fails() -> std::io::Result<()> {
    Ok(())
}

/// What a node keeps.
#[derive(Debug)]
#[non_exhaustive]
pub struct Model {
    /// The factor.
    pub factor: f64,
}

/// What the node keeps.
#[remote]
impl Model {
    /// Adds.
    pub fn add(&self, mut a: f64, b: f64) -> f64 {
        a += b;
        a * self.factor
    }

    // On the handle it is public, and has to have a doc comment there.
    #[doc(hidden)]
    pub async fn undocumented(&self, reading: Reading) -> Result<Reading, String> {
        Ok(reading)
    }

    /// Reads.
    #[remote(stream)]
    pub fn readings(&self, items: impl Stream<Item = Reading>) -> impl Stream<Item = Reading> {
        items
    }

    fn unused(&self, private: Private) -> Private {
        private
    }
}

/// What embeds.
#[remote]
pub trait Embedder {
    /// Embeds.
    async fn embed(&self, text: String) -> Vec<f32>;

    /// Repeats.
    #[remote(stream)]
    async fn repeat(&self, text: String) -> impl Stream<Item = String> {
        stream::repeat(text)
    }
}

// Nobody calls, lists or exports these.
#[remote]
fn unused(private: Private) -> Private {
    private
}

#[remote(stream, timeout = "5m")]
fn unused_stream() -> impl Stream<Item = Private> {
    stream::empty()
}

struct PrivateModel;

#[remote]
impl PrivateModel {
    fn unused(&self, private: Private) -> Private {
        private
    }
}

#[remote]
trait PrivateTrait {
    fn unused(&self, private: Private) -> Private;
}

fn main() {
    drop(easyremote::functions!());
}
