//! How far a stream may run ahead of its reader.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::demand::Demand;
use crate::wire::operators::Operator;

/// Limits the bytes of a stream that have been encoded and not taken.
#[derive(Debug)]
pub(crate) struct Gate {
    demand: Arc<Demand>,
    /// The next item may be produced while no more bytes than this are ahead.
    limit: u64,
    /// What has not been taken: up to which item, and how many bytes.
    ahead: VecDeque<(u64, u64)>,
    /// The bytes in `ahead`.
    bytes: u64,
    sent: u64,
}

/// Most entries of [`Gate::ahead`]; items beyond share the last one.
const MAX_ENTRIES: usize = 1_024;

impl Gate {
    /// Creates the gate of a chain; `None` if its operators have none.
    ///
    /// With `latest`, nothing may be ahead of the reader.
    pub(crate) fn new(operators: &[Operator], demand: Option<&Arc<Demand>>) -> Option<Self> {
        let limits = operators.iter().filter_map(|operator| match operator {
            Operator::Latest => Some(0),
            Operator::Buffer(bytes) => Some(*bytes),
            _ => None,
        });
        let (limit, demand) = (limits.min()?, demand?.clone());
        Some(Self { demand, limit, ahead: VecDeque::new(), bytes: 0, sent: 0 })
    }

    pub(super) fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Notes that an item of `bytes` has been encoded.
    pub(super) fn note_sent(&mut self, bytes: u64) {
        self.sent += 1;
        self.bytes += bytes;
        let full = self.ahead.len() == MAX_ENTRIES;
        match self.ahead.back_mut() {
            Some(last) if full => *last = (self.sent, last.1 + bytes),
            _ => self.ahead.push_back((self.sent, bytes)),
        }
    }

    /// Returns how many items must have been taken before the next one may be produced; `None` if
    /// it may be produced now.
    pub(super) fn needed(&mut self) -> Option<u64> {
        let taken = self.demand.taken();
        while let Some(&(upto, bytes)) = self.ahead.front()
            && upto <= taken
        {
            self.bytes -= bytes;
            self.ahead.pop_front();
        }
        let mut bytes = self.bytes;
        let mut needed = None;
        for (upto, length) in &self.ahead {
            if bytes <= self.limit {
                break;
            }
            bytes -= length;
            needed = Some(*upto);
        }
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(operators: &[Operator]) -> Gate {
        Gate::new(operators, Some(&Arc::default())).unwrap()
    }

    #[test]
    fn without_a_buffer_items_go_one_at_a_time() {
        for operators in [&[Operator::Latest][..], &[Operator::Buffer(0)]] {
            let mut gate = gate(operators);
            for n in 1..10 {
                assert_eq!(gate.needed(), None);
                gate.note_sent(5);
                assert_eq!(gate.needed(), Some(n));
                gate.demand.raise(n);
            }
        }
    }

    #[test]
    fn a_buffer_holds_that_many_bytes_whatever_their_items() {
        fastrand::seed(3);
        for limit in [1, 100, 10_000, 1 << 20] {
            let mut gate = gate(&[Operator::Buffer(limit), Operator::Buffer(u64::MAX)]);
            let (mut sizes, mut taken) = (Vec::new(), 0);
            for _ in 0..20_000 {
                match gate.needed() {
                    None => {
                        let size = fastrand::u64(5..200);
                        sizes.push(size);
                        gate.note_sent(size);
                    }
                    Some(needed) => {
                        assert!(needed > taken && needed <= sizes.len() as u64);
                        taken += 1;
                        gate.demand.raise(taken);
                    }
                }
                let ahead: u64 = sizes[usize::try_from(taken).unwrap()..].iter().sum();
                assert!(ahead < limit + 200, "{ahead} of {limit}");
            }
            assert!(taken > 0 || limit == 1 << 20);
        }
    }

    #[test]
    fn a_gate_needs_an_operator_that_has_one() {
        let operators = [Operator::Take(3), Operator::Dedup];
        assert!(Gate::new(&operators, Some(&Arc::default())).is_none());
    }
}
