//! The types of arguments, results, errors, items and client streams: each arrives as it was sent,
//! or its function is refused before the first call.
//!
//! Every attribute of serde that changes what is written, alone and in pairs, and the types of the
//! standard library and of crates that programs often send; each inside of options, lists, maps,
//! tuples and enums, where a byte too few would be taken from what follows. What became of each is
//! the table of `docs/types.md`: with `ZOO_TABLE=1` the test prints it.

mod attributes;
mod crates;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod schemas;
mod subject;

use crate::subject::{Outcome, World};

/// Which types are refused, by their names here.
#[cfg(test)]
pub(crate) const REFUSED: &[&str] = &[
    // serde cannot read back what these write, in any format.
    "deny_unknown+skip_deserializing",
    "none+skip_deserializing_without_default",
    "none+skipped_without_default",
    "none+renamed_one_way_by_name",
    "crates/flattened_u128",
];

/// Which types have values that cannot be told from others, by their names here. All others work.
#[cfg(test)]
const AMBIGUOUS: &[&str] = &[
    // What is written has another name than what is read, and may be missing.
    "tagged+renamed_one_way",
    // An option around nothing at all.
    "untagged+plain",
    "untagged+renamed",
    "untagged+alias",
    "untagged+renamed_fields",
    "crates/json_value",
];

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_as_they_were_sent_or_their_function_is_refused() {
    let world = World::start().await;
    let mut table = Vec::new();
    for subject in attributes::all().into_iter().chain(crates::all()) {
        let outcome = (subject.check)(&world).await.err().unwrap_or(Outcome::Arrived);
        table.push((subject, outcome));
    }
    assert!(table.len() > 100, "{}", table.len());
    let unlike: Vec<_> = table
        .iter()
        .filter(|(subject, outcome)| {
            let is_in = |list: &[&str]| list.contains(&subject.name.as_str());
            match outcome {
                Outcome::Arrived => is_in(REFUSED) || is_in(AMBIGUOUS),
                Outcome::Refused(_) => !is_in(REFUSED),
                Outcome::Partly => !is_in(AMBIGUOUS),
                Outcome::Lost(_) => true,
            }
        })
        .map(|(subject, outcome)| format!("{}: {outcome:?}", subject.name))
        .collect();
    assert!(unlike.is_empty(), "{} of {}:\n{}", unlike.len(), table.len(), unlike.join("\n"));
    let shown = subject::table(&table);
    if std::env::var_os("ZOO_TABLE").is_some() {
        println!("{shown}");
    }
    let docs = include_str!("../../../docs/types.md");
    assert!(docs.contains(&shown), "docs/types.md has another table; run with ZOO_TABLE=1");
}
