//! The schemas of the functions of all nodes: checked, and equal ones kept once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::wire::control::Offer;
use crate::wire::schemas::FunctionSchemas;

/// The schemas that nodes have registered. A pool of equal nodes takes the memory of one, and is
/// checked once.
#[derive(Debug, Default)]
pub(super) struct SchemaPool(Mutex<PooledTexts>);

#[derive(Debug, Default)]
struct PooledTexts {
    texts: HashSet<Arc<str>>,
    /// Number of texts at which those of nodes that have left are dropped.
    limit: usize,
}

impl SchemaPool {
    /// Checks the schemas of a node, and replaces those that are known.
    ///
    /// # Errors
    /// The function whose schemas must not be passed on, and why.
    pub(super) fn take_in<'a>(&self, offers: &'a mut [Offer]) -> Result<(), (&'a str, String)> {
        let offers = offers.iter_mut().filter(|offer| !offer.schemas.is_empty());
        for Offer { name, schemas, .. } in offers {
            if let Some(known) = self.known(schemas) {
                *schemas = known;
                continue;
            }
            // Without the lock, because it may take a while.
            FunctionSchemas::check(schemas).map_err(|why| (&**name, why))?;
            self.0.lock().insert(schemas.clone());
        }
        Ok(())
    }

    fn known(&self, text: &str) -> Option<Arc<str>> {
        self.0.lock().texts.get(text).cloned()
    }
}

impl PooledTexts {
    fn insert(&mut self, text: Arc<str>) {
        if self.texts.len() >= self.limit {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.limit = 2 * self.texts.len() + MIN_TEXTS;
        }
        self.texts.insert(text);
    }
}

/// Number of texts below which nothing is dropped.
const MIN_TEXTS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::routing::sample::offer;

    fn offers(names: std::ops::Range<usize>) -> Vec<Offer> {
        let schemas = |n| format!(r#"{{"arguments":{{"const":{n}}}}}"#).into();
        names.map(|n| Offer { schemas: schemas(n), ..offer("f") }).collect()
    }

    fn n_texts(pool: &SchemaPool) -> usize {
        pool.0.lock().texts.len()
    }

    #[test]
    fn equal_schemas_are_kept_once() {
        let pool = SchemaPool::default();
        let (mut one, mut two) = (offers(0..10), offers(5..15));
        pool.take_in(&mut one).unwrap();
        pool.take_in(&mut two).unwrap();
        assert!(Arc::ptr_eq(&one[5].schemas, &two[0].schemas));
        assert_eq!(n_texts(&pool), 15);
    }

    #[test]
    fn schemas_of_nodes_that_have_left_are_dropped() {
        let pool = SchemaPool::default();
        let mut kept = offers(0..10);
        pool.take_in(&mut kept).unwrap();
        for n in 1..100 {
            pool.take_in(&mut offers(1_000 * n..1_000 * (n + 1))).unwrap();
            assert!(n_texts(&pool) <= 10_000, "{}", n_texts(&pool));
        }
        let mut again = offers(0..10);
        pool.take_in(&mut again).unwrap();
        assert!(Arc::ptr_eq(&kept[9].schemas, &again[9].schemas));
    }

    #[test]
    fn a_node_without_schemas_adds_nothing_and_a_wrong_one_is_named() {
        let pool = SchemaPool::default();
        let mut offers = [offer("f"), Offer { schemas: "[]".into(), ..offer("g") }];
        pool.take_in(&mut offers[..1]).unwrap();
        let (name, why) = pool.take_in(&mut offers).unwrap_err();
        assert_eq!(name, "g");
        assert!(why.contains("not a JSON object"), "{why}");
        assert_eq!(n_texts(&pool), 0);
    }
}
