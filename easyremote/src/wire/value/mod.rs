//! Values of the types of functions: written by position where that is safe, else by name.
//!
//! | a type is written | if                                                                        |
//! |-------------------|---------------------------------------------------------------------------|
//! | by position       | tracing knows all of it, its samples come back, and `Serialize` gives     |
//! |                   | what `Deserialize` takes: bincode, each value checked while it is written |
//! | by name           | it needs a codec that says what comes, is not known to its end, or leaves |
//! |                   | fields out: MessagePack with names, each value decoded once more and      |
//! |                   | compared before it is sent, and again where it arrives                    |
//! | not at all        | samples of it do not come back by name either                             |
//!
//! Both ends find out the same, as the way is a part of the type's canonical text.

mod by_name;
mod positional;
#[cfg(test)]
mod tests;

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, OnceLock};
use std::thread::Builder;

use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::{Budget, DecodeCost};
use crate::schema::{Layout, Traced, digest, trace};
use crate::wire::codec::{Codec, from_bincode, put_list, unwinding};
use crate::wire::limits::DEFAULT_MAX_DECODED;

/// A type of a function's argument, result, error or item: its two texts, and how its values are
/// written.
#[derive(Debug)]
pub struct ValueType {
    /// Its name in Rust.
    name: &'static str,
    /// Equal for two types whose values mean the same on the wire.
    pub(crate) canonical: String,
    /// What people read, who write its values as JSON.
    pub(crate) text: String,
    form: ValueForm,
    /// Whether it is written by name, and not one value could be made to try that.
    untried: bool,
}

#[derive(Debug)]
enum ValueForm {
    Positional(Layout),
    ByName,
    /// Why its values cannot be written.
    Refused(String),
}

impl ValueType {
    /// That of `T`. Each type is traced once in a process.
    pub(crate) fn of<T: Serialize + DeserializeOwned + Send + 'static>() -> &'static Self {
        static TYPES: LazyLock<RwLock<HashMap<TypeId, &'static OnceLock<ValueType>>>> =
            LazyLock::new(RwLock::default);
        let id = TypeId::of::<T>();
        let known = TYPES.read().get(&id).copied();
        let cell = known.unwrap_or_else(|| {
            // One for each type of a program.
            TYPES.write().entry(id).or_insert_with(|| Box::leak(Box::default()))
        });
        // Outside of the lock: it runs the user's code.
        cell.get_or_init(Self::find_with_room::<T>)
    }

    /// [`find`](Self::find) on a stack of its own: samples nest deeper than the caller may have room
    /// for.
    fn find_with_room<T: Serialize + DeserializeOwned + Send + 'static>() -> Self {
        std::thread::scope(|scope| {
            let builder = Builder::new().name("easyremote-trace".to_owned());
            match builder.stack_size(STACK).spawn_scoped(scope, Self::find::<T>) {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // The system has no thread to give.
                Err(_) => Self::find::<T>(),
            }
        })
    }

    fn find<T: Serialize + DeserializeOwned + 'static>() -> Self {
        let name = type_name::<T>();
        let Traced { schema, layout, mut samples, .. } = trace::<T>(false);
        let mut people = trace::<T>(true);
        let text = people.schema.to_string();
        // A value that cannot be serialized at all says nothing about others, unless none can.
        samples.retain(|sample| complaint(sample, false).is_none());
        if people.samples.iter().any(|sample| complaint(sample, true).is_none()) {
            people.samples.retain(|sample| complaint(sample, true).is_none());
        }
        if let Ok(layout) = layout
            && samples.iter().all(|sample| comes_back(&layout, sample).is_ok())
        {
            let form = ValueForm::Positional(layout);
            return Self { name, canonical: schema.canonical(), text, form, untried: false };
        }
        let failed = people.samples.iter().find_map(|sample| by_name::unreadable(sample));
        let unbuffered = people.unbuffered && people.samples.is_empty();
        let failed = failed.or_else(|| unbuffered.then(|| UNBUFFERED.to_owned()));
        let form = match failed {
            Some(why) => ValueForm::Refused(refusal(name, &why)),
            None => ValueForm::ByName,
        };
        let canonical = format!("named {}", people.schema.canonical());
        Self { name, canonical, text, form, untried: people.samples.is_empty() }
    }

    /// Why no value of the type can be sent, if that is so.
    pub(crate) fn refused(&self) -> Option<&str> {
        match &self.form {
            ValueForm::Refused(why) => Some(why),
            _ => None,
        }
    }

    /// The type's name, if it is written by name, and tracing could not make one value to try: what
    /// does not come back is found out when it is sent.
    pub(crate) fn untried(&self) -> Option<&'static str> {
        self.untried.then_some(self.name)
    }

    /// Appends `value`, which is of this type.
    ///
    /// # Errors
    /// What its `Serialize` complained about, that it would arrive as another value, or that
    /// decoding it takes more than `max_decoded` bytes of memory.
    pub(crate) fn encode<T>(
        &self,
        codec: Codec,
        value: &T,
        out: &mut Vec<u8>,
        max_decoded: usize,
    ) -> Result<(), String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if codec == Codec::Json {
            return codec.encode(value, out);
        }
        let (start, mut cost) = (out.len(), DecodeCost::default());
        self.put(value, out, &mut cost, max_decoded)?;
        cost.check(out.len() - start, max_decoded)
    }

    /// Appends `value`, which is of this type and a part of a message, and adds what decoding it
    /// takes to `cost`.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub(crate) fn put<T>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
        cost: &mut DecodeCost,
        max_decoded: usize,
    ) -> Result<(), String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match &self.form {
            ValueForm::Positional(layout) => put_list(value, out, cost)
                .unwrap_or_else(|| positional::put(layout, value, out, cost)),
            ValueForm::ByName => by_name::put(value, out, cost, max_decoded),
            ValueForm::Refused(why) => Err(why.clone()),
        }
    }

    /// Reads a value of this type from the front of `bytes`, and says how many it took.
    ///
    /// # Errors
    /// What is wrong with the bytes, or that they ask for more than the budget.
    pub(crate) fn read<T>(&self, bytes: &[u8], budget: &mut Budget) -> Result<(T, usize), String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match &self.form {
            ValueForm::Positional(_) => from_bincode(bytes, budget),
            ValueForm::ByName => by_name::read(bytes, budget),
            ValueForm::Refused(why) => Err(why.clone()),
        }
    }

    /// Reads a value of this type that takes up all of `bytes`.
    ///
    /// # Errors
    /// As for [`read`](Self::read), or that bytes are left over.
    pub(crate) fn decode<T>(&self, bytes: &[u8], max_decoded: usize) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.decode_within(bytes, &mut Budget::for_message(bytes.len(), max_decoded))
    }

    /// Reads a value of this type that takes up all of `bytes`, within a budget.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode).
    pub(crate) fn decode_within<T>(&self, bytes: &[u8], budget: &mut Budget) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let (value, length) = unwinding(|| self.read(bytes, budget))?;
        match bytes.len() - length {
            0 => Ok(value),
            left => Err(format!("{left} bytes are left over after the value")),
        }
    }
}

/// Bytes of stack for tracing a type; a debug build takes up to 2 MiB.
const STACK: usize = 8 << 20;

/// What serde cannot do.
const UNBUFFERED: &str =
    "serde has no 128-bit integers inside of `flatten`, `tag` and `untagged`; send them as text";

/// Whether a sample can be written by position and read again.
fn comes_back<T>(layout: &Layout, sample: &T) -> Result<(), String>
where
    T: Serialize + DeserializeOwned + 'static,
{
    let there_and_back = || {
        let mut bytes = Vec::new();
        positional::put(layout, sample, &mut bytes, &mut DecodeCost::default())?;
        let mut budget = Budget::for_message(bytes.len(), DEFAULT_MAX_DECODED);
        let (back, length) = from_bincode::<T>(&bytes, &mut budget)?;
        same(sample, &back, false)?;
        if length == bytes.len() { Ok(()) } else { Err("bytes are left over".to_owned()) }
    };
    tried(there_and_back)
}

/// What the `Serialize` of a sample complains about.
fn complaint<T: Serialize>(sample: &T, human: bool) -> Option<String> {
    tried(|| digest(sample, human).map(drop).map_err(|complaint| complaint.0)).err()
}

/// What `try_sample` says of a sample. One that panics says nothing: its values fail by themselves.
fn tried(try_sample: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(try_sample)).unwrap_or(Ok(()))
}

/// The digest of two values that serialize alike.
fn same<T: Serialize>(one: &T, two: &T, human: bool) -> Result<u64, String> {
    let digest = |value| digest(value, human).map_err(|complaint| complaint.0);
    let (one, two) = (digest(one)?, digest(two)?);
    if one == two { Ok(one) } else { Err("it comes back as another value".to_owned()) }
}

/// Why no value of the type `name` can be sent.
fn refusal(name: &str, why: &str) -> String {
    format!(
        "`{name}` cannot cross the network: what its `Serialize` writes is not what its \
         `Deserialize` reads ({why}); give fields that are left out a `#[serde(default)]`, use \
         the same names and adapters in both directions, or send a type that derives both"
    )
}
