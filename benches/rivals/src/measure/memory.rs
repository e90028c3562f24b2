//! What keeps a place although nothing happens.

use anyhow::Result;

use super::Party;
use crate::table::Table;

/// In processes that have done nothing else: memory that was used before would be used again.
pub fn memory(party: &Party<'_>, table: &mut Table) -> Result<()> {
    for (question, few, many, row) in [
        (
            "streams",
            10,
            party.options.times(1_000),
            "KiB per idle stream, at whom the client dials",
        ),
        (
            "connections",
            2,
            party.options.times(200),
            "KiB per idle connection, at whom the client dials",
        ),
    ] {
        let mut processes = party.start()?;
        let grown = match processes.ask::<1>(&format!("{question} {few}"))? {
            Some(_) => {
                let before = processes.front().memory_kib()?;
                processes.ask::<1>(&format!("{question} {many}"))?;
                Some((processes.front().memory_kib()? - before) / many as f64)
            }
            None => None,
        };
        party.add(table, row, grown);
    }
    Ok(())
}
