//! Many clients, many nodes, and both.

use anyhow::Result;

use super::Party;
use crate::rival::Shape;
use crate::table::Table;

struct Rows {
    /// Each with one call at a time; otherwise one client with 64.
    many_clients: bool,
    many_nodes: bool,
    rate: &'static str,
    /// Of client, middle and nodes.
    cost: [&'static str; 3],
}

const SHAPES: &[Rows] = &[
    Rows {
        many_clients: false,
        many_nodes: true,
        rate: "calls/s, one client x 64, 50 nodes",
        cost: [
            "CPU-s per 100,000, one client x 64, 50 nodes: client",
            "CPU-s per 100,000, one client x 64, 50 nodes: middle",
            "CPU-s per 100,000, one client x 64, 50 nodes: nodes",
        ],
    },
    Rows {
        many_clients: true,
        many_nodes: false,
        rate: "calls/s, 200 clients x 1, one node",
        cost: [
            "CPU-s per 100,000, 200 clients x 1, one node: clients",
            "CPU-s per 100,000, 200 clients x 1, one node: middle",
            "CPU-s per 100,000, 200 clients x 1, one node: node",
        ],
    },
    Rows {
        many_clients: true,
        many_nodes: true,
        rate: "calls/s, 200 clients x 1, 50 nodes",
        cost: [
            "CPU-s per 100,000, 200 clients x 1, 50 nodes: clients",
            "CPU-s per 100,000, 200 clients x 1, 50 nodes: middle",
            "CPU-s per 100,000, 200 clients x 1, 50 nodes: nodes",
        ],
    },
];

pub fn shapes(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let (nodes, clients) = (party.options.peers(50), party.options.peers(200));
    for rows in SHAPES {
        if rows.many_nodes && party.known.shape == Shape::Direct {
            continue;
        }
        let mut processes = party.start_nodes(if rows.many_nodes { nodes } else { 1 })?;
        let ms = party.options.ms(2_500);
        let question = if rows.many_clients {
            processes.ask::<1>(&format!("connections {clients}"))?;
            format!("each {ms}")
        } else {
            format!("calls {ms} 64 64")
        };
        processes.warm_up(party.options)?;
        let measured = processes.ask_cost::<2>(&question)?;
        party.add(table, rows.rate, measured.map(|([calls, seconds], _)| calls / seconds));
        let each = measured.map(|([calls, _], used)| used.map(|used| used / calls * 1e5));
        for (i, row) in rows.cost.into_iter().enumerate() {
            let is_there = i != 1 || processes.middle.is_some();
            party.add(table, row, each.filter(|_| is_there).map(|each| each[i]));
        }
    }
    Ok(())
}
