//! `plain`: a type that is called `..Result` but is a value like any other.
#![deny(warnings)]

use easyremote::{CallError, Client, Error, functions, remote};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct QueryResult {
    rows: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct NotFound;

#[remote(plain)]
fn query() -> QueryResult {
    QueryResult { rows: 3 }
}

#[remote(plain, stream)]
fn queries() -> impl Iterator<Item = QueryResult> {
    (0..3).map(|rows| QueryResult { rows })
}

/// `plain` is about the items: the set-up may fail all the same.
#[remote(stream, plain)]
fn found() -> Result<impl Iterator<Item = QueryResult>, NotFound> {
    Ok((0..3).map(|rows| QueryResult { rows }))
}

async fn callers(client: Client) {
    let _: Result<QueryResult, Error> = query::call(&client).await;
    let _: Option<Result<QueryResult, Error>> = queries::call(&client).next().await;
    let _: Option<Result<QueryResult, CallError<NotFound>>> = found::call(&client).next().await;
}

fn main() {
    let _ = callers;
    let _ = functions![query, queries, found];
    assert_eq!(query().rows, 3);
}
