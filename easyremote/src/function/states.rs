//! What the functions of a node share: states, the instances of methods, and gauges.

use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::function::reported_gauges::ReportedGauges;

/// A type that may be the state of remote functions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the state of a #[remote] function",
    label = "not `Send + Sync + 'static`",
    note = "calls share it between threads: put what changes into a `Mutex`"
)]
pub trait State: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> State for T {}

/// The values that a node stores for its functions, by type, and the gauges that they report.
#[derive(Default)]
pub(crate) struct States {
    types: HashMap<TypeId, StoredValues>,
    pub(crate) gauges: ReportedGauges,
}

/// The values of one type.
#[derive(Default)]
struct StoredValues {
    /// The state, which has no name.
    state: Option<StoredValue>,
    /// The instances, by name.
    instances: BTreeMap<Arc<str>, StoredValue>,
}

/// A value, which the rest of the program may share.
type StoredValue = Arc<dyn Any + Send + Sync>;

impl States {
    /// Stores `value` as the state of its type, replacing an earlier one.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: Arc<T>) {
        self.types.entry(TypeId::of::<T>()).or_default().state = Some(value);
    }

    /// Stores `value` as the instance `name` of its type, replacing an earlier one.
    pub(crate) fn insert_instance<T: Send + Sync + 'static>(
        &mut self,
        name: String,
        value: Arc<T>,
    ) {
        let kept = self.types.entry(TypeId::of::<T>()).or_default();
        kept.instances.insert(name.into(), value);
    }

    /// Returns the state of type `T`.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.instance(None)
    }

    /// Returns the instance `name` of type `T`, or without a name the state of that type.
    pub(crate) fn instance<T: 'static>(&self, name: Option<&str>) -> Option<&T> {
        let kept = self.types.get(&TypeId::of::<T>())?;
        let value = match name {
            Some(name) => kept.instances.get(name),
            None => kept.state.as_ref(),
        };
        value?.downcast_ref()
    }

    pub(crate) fn has(&self, wanted: &StateType) -> bool {
        self.types.get(&wanted.id).is_some_and(|kept| kept.state.is_some())
    }

    /// Returns the names of the instances of one type, in order.
    pub(crate) fn instances(&self, wanted: &StateType) -> impl Iterator<Item = &Arc<str>> {
        self.types.get(&wanted.id).into_iter().flat_map(|kept| kept.instances.keys())
    }

    /// Returns the names of all instances of all types.
    pub(crate) fn all_instances(&self) -> impl Iterator<Item = &Arc<str>> {
        self.types.values().flat_map(|kept| kept.instances.keys())
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.types.len())
    }
}

/// The type of a value that a function needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateType {
    id: TypeId,
    pub(crate) name: &'static str,
}

impl StateType {
    pub(crate) fn of<T: 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }
}
