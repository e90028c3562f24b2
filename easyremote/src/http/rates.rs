//! How many requests each identity makes.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::transport::token_bucket::TokenBucket;
use crate::wire::caller::Caller;
use crate::wire::control::Role;

/// A bucket for each identity that has made requests.
#[derive(Debug)]
pub(super) struct RequestRates {
    per_second: f64,
    /// Bounded by the number of identities that the gateway admits.
    buckets: Mutex<HashMap<(Role, String), TokenBucket>>,
}

impl RequestRates {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The time after which the next one is accepted, if this one is not.
    pub(super) fn count(&self, caller: &Caller) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        let key = (caller.role, caller.identity.clone());
        let new = || TokenBucket::new(self.per_second, self.per_second.max(1.0));
        let bucket = buckets.entry(key).or_insert_with(new);
        match bucket.take() {
            true => Ok(()),
            false => Err(bucket.time_until(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn identities_do_not_take_from_each_other() {
        let rates = RequestRates::new(10);
        let caller = |role, identity: &str| Caller {
            role,
            id: "http".to_owned(),
            identity: identity.to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
        };
        let (one, other) = (caller(Role::Client, "a"), caller(Role::Client, "b"));
        let admin = caller(Role::Admin, "a");
        assert_eq!((0..20).filter(|_| rates.count(&one).is_ok()).count(), 10);
        assert_eq!((0..20).filter(|_| rates.count(&other).is_ok()).count(), 10);
        assert_eq!((0..20).filter(|_| rates.count(&admin).is_ok()).count(), 10);
        let wait = rates.count(&one).unwrap_err();
        assert!(wait <= Duration::from_millis(100));
        tokio::time::advance(wait).await;
        assert!(rates.count(&one).is_ok());
        assert!(rates.count(&one).is_err());
    }
}
