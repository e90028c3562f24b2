//! The gauges that a node's program reports.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};
use crate::wire::gauges::is_gauge_name;
use crate::wire::limits::{MAX_GAUGE_NAME, MAX_GAUGES};

/// The gauges of one node, by name.
#[derive(Debug, Default)]
pub(crate) struct ReportedGauges {
    now: watch::Sender<BTreeMap<String, f64>>,
}

impl ReportedGauges {
    /// Sets a gauge.
    ///
    /// # Errors
    /// `InvalidInput` if the name is invalid, the value is not finite, or there are too many.
    pub(crate) fn set(&self, name: &str, value: f64) -> Result<(), Error> {
        let bad = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
        if !is_gauge_name(name) {
            return bad(format!(
                "`{}` is not a valid name of a gauge: use 1 to {MAX_GAUGE_NAME} of `A-Z a-z 0-9 _`, \
                 not starting with a digit",
                name.escape_debug()
            ));
        }
        if !value.is_finite() {
            return bad(format!(
                "the gauge `{name}` cannot be {value}: remove it while there is no value"
            ));
        }
        let mut fits = true;
        self.now.send_if_modified(|gauges| {
            if let Some(known) = gauges.get_mut(name) {
                return std::mem::replace(known, value) != value;
            }
            fits = gauges.len() < MAX_GAUGES;
            fits && gauges.insert(name.to_owned(), value).is_none()
        });
        match fits {
            true => Ok(()),
            false => bad(format!("a node has at most {MAX_GAUGES} gauges: `{name}` is one more")),
        }
    }

    /// Removes a gauge; returns whether there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.now.send_if_modified(|gauges| gauges.remove(name).is_some())
    }

    /// Returns all gauges.
    pub(crate) fn now(&self) -> BTreeMap<String, f64> {
        self.now.borrow().clone()
    }

    /// Watches the gauges. Every value is news, except that there are none.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<String, f64>> {
        let mut gauges = self.now.subscribe();
        if !gauges.borrow_and_update().is_empty() {
            gauges.mark_changed();
        }
        gauges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_and_what_is_wrong_changes_nothing() {
        let gauges = ReportedGauges::default();
        gauges.set("a", 1.0).unwrap();
        gauges.set("a", -2.5).unwrap();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = gauges.set("a", value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        for name in ["", "a b", "a\n", "1a", &"x".repeat(MAX_GAUGE_NAME + 1)] {
            let error = gauges.set(name, 1.0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert_eq!(gauges.now(), [("a".to_owned(), -2.5)].into());
        assert!(gauges.remove("a") && !gauges.remove("a"));
    }

    #[test]
    fn there_are_at_most_so_many() {
        let gauges = ReportedGauges::default();
        (0..MAX_GAUGES).for_each(|n| gauges.set(&format!("g{n}"), n as f64).unwrap());
        gauges.set("one_more", 1.0).unwrap_err();
        gauges.set("g0", 7.0).unwrap();
        assert!(gauges.remove("g1"));
        gauges.set("one_more", 1.0).unwrap();
        assert_eq!(gauges.now().len(), MAX_GAUGES);
    }

    #[test]
    fn only_changes_are_news() {
        let gauges = ReportedGauges::default();
        let mut watched = gauges.subscribe();
        assert!(!watched.has_changed().unwrap());
        gauges.set("a", 1.0).unwrap();
        assert!(watched.has_changed().unwrap() && gauges.subscribe().has_changed().unwrap());
        watched.mark_unchanged();
        gauges.set("a", 1.0).unwrap();
        assert!(!watched.has_changed().unwrap(), "the same value");
        gauges.remove("a");
        assert!(watched.has_changed().unwrap() && !gauges.subscribe().has_changed().unwrap());
    }
}
