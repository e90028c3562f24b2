use easyremote::remote;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct QueryResult {
    rows: u64,
}

#[remote]
fn query(text: String) -> QueryResult {
    let rows = text.len() as u64;
    QueryResult { rows }
}

fn main() {}
