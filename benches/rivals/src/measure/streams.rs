//! What streams cost.

use anyhow::Result;

use super::Party;
use crate::table::Table;

pub fn streams(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let mut processes = party.start_warm()?;
    let first = processes.ask::<1>(&format!("first {}", party.options.times(2_000)))?;
    party.add(table, "first item of a stream, us", first.map(|first| first[0]));

    let n = party.options.times(3_000_000) as f64;
    let measured = processes.ask_cost::<1>(&format!("items {n} 64"))?;
    let rate = measured.map(|([seconds], _)| n / seconds / 1e6);
    party.add(table, "64-byte items, million/s", rate);
    let cost = measured.map(|(_, used)| used.iter().sum::<f64>() / n * 1e6);
    party.add(table, "CPU-s per million 64-byte items", cost);

    let n = party.options.times(20_000) as f64;
    let bytes = n * 65_536.0;
    let measured = processes.ask_cost::<1>(&format!("items {n} 65536"))?;
    let rate = measured.map(|([seconds], _)| bytes / seconds / 1e6);
    party.add(table, "64 KiB items, MB/s", rate);
    let cost = measured.map(|(_, used)| used.iter().sum::<f64>() / bytes * 1e9);
    party.add(table, "CPU-s per GB of 64 KiB items", cost);
    Ok(())
}
