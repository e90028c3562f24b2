//! The figures of all functions that nodes have offered.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::call::function_meter::{FunctionMeter, FunctionStats, OTHER};

/// Maximum number of functions with figures of their own.
const MAX_METERED: usize = 1_024;

/// The meters of functions, by name. A function keeps its figures after its nodes have left.
#[derive(Debug, Default)]
pub(crate) struct FunctionMeters {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<FunctionMeter>>>,
    /// Counts the calls of unknown functions, whose names callers choose, and of functions beyond
    /// the limit.
    other: Arc<FunctionMeter>,
}

impl FunctionMeters {
    /// Returns the meter of a function that a node offers.
    pub(crate) fn of_offered(&self, function: &str) -> Arc<FunctionMeter> {
        let mut by_name = self.by_name.lock();
        if let Some(meter) = by_name.get(function) {
            return meter.clone();
        }
        if by_name.len() >= MAX_METERED {
            // What was never called, and is not offered any more, has no figures to lose.
            by_name.retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_unused());
        }
        if by_name.len() >= MAX_METERED {
            return self.other.clone();
        }
        by_name.entry(function.into()).or_default().clone()
    }

    /// Returns the meter of a function that a caller names.
    pub(crate) fn of_called(&self, function: &str) -> Arc<FunctionMeter> {
        self.by_name.lock().get(function).unwrap_or(&self.other).clone()
    }

    /// Returns the figures of all functions, sorted by name. `waiting` are the calls of each that
    /// wait.
    pub(crate) fn read(&self, waiting: &BTreeMap<String, u64>) -> Vec<FunctionStats> {
        let by_name = self.by_name.lock();
        let waiting_of = |name: &str| waiting.get(name).copied().unwrap_or_default();
        let mut all: Vec<_> =
            by_name.iter().map(|(name, meter)| meter.read(name, waiting_of(name))).collect();
        let others = waiting.iter().filter(|(name, _)| !by_name.contains_key(name.as_str()));
        let others = others.map(|(_, n)| n).sum();
        drop(by_name);
        if others > 0 || !self.other.is_unused() {
            all.push(self.other.read(OTHER, others));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::function_meter::CallEnd;

    #[test]
    fn functions_beyond_the_limit_share_one_meter() {
        let meters = FunctionMeters::default();
        // Never called, and offered no more: they make room.
        (0..MAX_METERED).for_each(|n| drop(meters.of_offered(&format!("gone{n}"))));
        let called = meters.of_offered("called");
        called.ended(CallEnd::Returned);
        drop(called);
        let offered: Vec<_> =
            (0..MAX_METERED).map(|n| meters.of_offered(&format!("f{n}"))).collect();
        offered.iter().for_each(|meter| meter.ended(CallEnd::Fault));
        meters.of_called("unknown").ended(CallEnd::Returned);
        let waiting = [("f0".to_owned(), 5), ("unknown".to_owned(), 7)].into();
        let stats = meters.read(&waiting);
        assert_eq!(stats.len(), MAX_METERED + 1);
        let of = |name: &str| stats.iter().find(|stats| stats.function == name).unwrap();
        assert_eq!(of("called").returned, 1, "figures are kept");
        assert_eq!((of("f0").faults, of("f0").waiting), (1, 5));
        let other = of(OTHER);
        assert_eq!((other.returned, other.faults, other.waiting), (1, 1, 7));
    }

    #[test]
    fn what_is_not_used_is_not_listed_as_other() {
        let meters = FunctionMeters::default();
        meters.of_offered("f");
        assert_eq!(meters.read(&BTreeMap::new()).len(), 1);
    }
}
