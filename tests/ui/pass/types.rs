//! Types that may surprise: whatever serde takes apart and puts together can cross the network.
#![deny(warnings)]

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use easyremote::{Client, Error, functions, remote};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Size<const N: usize>;

#[derive(Serialize, Deserialize)]
struct Page<T, const N: usize> {
    rows: Vec<T>,
    size: Size<N>,
}

#[remote]
fn generic_types(page: Page<String, 2>) -> Page<Option<u8>, 0> {
    let Page { rows, size: Size } = page;
    Page { rows: rows.iter().map(|row| row.bytes().next()).collect(), size: Size }
}

#[remote]
fn static_lifetimes(name: Cow<'static, str>) -> Cow<'static, str> {
    name
}

/// `Send` is enough: one value is never shared.
#[remote]
async fn not_sync(cell: Cell<u8>) -> Cell<u8> {
    cell
}

#[remote]
fn functions_in_types(marker: PhantomData<fn(&str) -> &str>) -> PhantomData<fn(&mut u8)> {
    let _ = marker;
    PhantomData
}

#[remote]
fn results_inside(list: Vec<Result<u8, String>>) -> Option<Result<u8, String>> {
    list.into_iter().next()
}

#[remote]
fn long_types(
    table: BTreeMap<(u8, char), Box<[Option<Duration>]>>,
) -> (Box<str>, [u8; 3], ((), i128)) {
    (format!("{table:?}").into(), [1, 2, 3], ((), -1))
}

#[remote]
fn unit_written_out() -> () {}

#[remote]
fn projected(byte: <Vec<u8> as IntoIterator>::Item) -> <[u8; 2] as IntoIterator>::Item {
    byte
}

#[remote(stream)]
fn tuples() -> impl Iterator<Item = (usize, char)> {
    "abc".chars().enumerate()
}

async fn callers(client: Client) -> Result<(), Error> {
    let _: Cell<u8> = not_sync::call(&client, Cell::new(1)).await?;
    let _: Option<Result<u8, String>> = results_inside::call(&client, Vec::new()).await?;
    let _: Cow<'static, str> = static_lifetimes::call(&client, "x".into()).await?;
    let () = unit_written_out::call(&client).await?;
    Ok(())
}

fn main() {
    let _ = callers;
    let _ = functions![
        generic_types,
        static_lifetimes,
        not_sync,
        functions_in_types,
        results_inside,
        long_types,
        unit_written_out,
        projected,
        tuples,
    ];
}
