//! Other attributes above and below `#[remote]` mean what they always mean.
#![deny(warnings)]

use easyremote::{Client, Error, functions, remote};

/// The stub's `call` is deprecated too; what is generated does not complain about it.
#[deprecated(note = "use `add`")]
#[remote]
fn plus(a: i64, b: i64) -> i64 {
    a + b
}

#[deprecated]
#[derive(serde::Serialize, serde::Deserialize)]
struct Old;

#[remote]
#[allow(deprecated)]
fn convert(old: Old) -> Result<Old, Old> {
    Ok(old)
}

#[cfg(any())]
#[remote]
fn absent_above(model: DoesNotExist) -> DoesNotExist {
    model
}

#[remote]
#[cfg(any())]
fn absent_below(model: DoesNotExist) -> DoesNotExist {
    model
}

#[remote]
#[cfg(not(any()))]
fn present() {}

// Two of which one is there.
#[remote]
#[cfg(unix)]
fn platform() -> String {
    "unix".to_owned()
}

#[remote]
#[cfg(not(unix))]
fn platform() -> String {
    "another".to_owned()
}

#[cfg_attr(all(), remote, must_use)]
fn by_condition() -> u8 {
    1
}

#[inline]
#[must_use = "it has no other effect"]
#[doc = "Two."]
#[doc(alias = "ii", hidden)]
#[easyremote::remote]
pub async fn two() -> u8 {
    2
}

use easyremote::remote as offered;

#[offered(inline)]
#[cold]
#[track_caller]
fn under_another_name() -> u8 {
    3
}

#[remote]
#[expect(unused_variables, reason = "it is asked for once, and once only")]
fn ignore(text: String) {}

#[remote]
#[rustfmt::skip]
#[allow(clippy::identity_op)]
fn skipped() -> u8 { 1 + 0 }

#[remote()]
fn empty_parentheses() {}

#[allow(deprecated)]
async fn callers(client: Client) -> Result<(), Error> {
    let _: i64 = plus::call(&client, 1, 2).await?;
    platform::call(&client).await?;
    present::call(&client).await
}

fn main() {
    let _ = callers;
    let _ = functions![
        plus,
        convert,
        present,
        platform,
        by_condition,
        two,
        under_another_name,
        ignore,
        skipped,
        empty_parentheses,
    ];
}
