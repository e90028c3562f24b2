use easyremote::remote;

#[derive(serde::Serialize, serde::Deserialize)]
struct QueryResult;

#[remote(err = "display")]
fn query() -> QueryResult {
    QueryResult
}

fn main() {}
