//! Encoding of arguments, results and items: by position where that is safe, otherwise by name.
//!
//! | form        | codec       | used if                                                        |
//! |-------------|-------------|----------------------------------------------------------------|
//! | by position | bincode     | the trace of the type is complete, its samples survive a round |
//! |             |             | trip, and `Serialize` matches `Deserialize`                    |
//! | by name     | MessagePack | the type needs a self-describing codec, has an incomplete      |
//! |             |             | trace, or leaves fields out                                    |
//! | refused     |             | samples do not survive a round trip by name either             |
//!
//! By position, each value is compared with the trace while it is written. By name, each value is
//! decoded and compared before it is sent, and verified by a digest where it arrives.
//!
//! Both ends choose the same form, because the form is a part of the type's canonical text.

mod by_name;
mod msgpack;
pub(crate) mod names;
mod positional;
mod round_trip;
#[cfg(test)]
mod tests;

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{LazyLock, OnceLock};
use std::thread::Builder;

use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::names::RewriteByName;
use self::round_trip::{same, tried};
use crate::decode::{Budget, DecodeCost};
use crate::schema::{JsonSchema, Layout, Traced, digest, json_schema, trace};
use crate::wire::codec::{Codec, from_bincode, put_list, unwinding};
use crate::wire::limits::DEFAULT_MAX_DECODED;

/// The type of a function's argument, result, error or item: its two texts, and the form of its
/// values.
#[derive(Debug)]
pub struct ValueType {
    /// The name in Rust.
    name: &'static str,
    /// Equal for types whose values have the same encoding.
    pub(crate) canonical: String,
    /// The readable text, for people who write its values as JSON.
    pub(crate) text: String,
    form: ValueForm,
    /// Whether it is written by name, and no sample value could be made to test that.
    untried: bool,
    json: LazyJson,
    rewrite_by_name: RewriteByName,
}

/// The JSON Schema of a type, traced when it is asked for: only nodes need it.
#[derive(Debug)]
struct LazyJson {
    find: fn() -> JsonSchema,
    found: OnceLock<JsonSchema>,
}

#[derive(Debug)]
enum ValueForm {
    Positional(Layout),
    ByName,
    /// Its values cannot be written, for this reason.
    Refused(String),
}

impl ValueType {
    /// Returns the type of `T`. Each type is traced once per process.
    pub(crate) fn of<T: Serialize + DeserializeOwned + Send + 'static>() -> &'static Self {
        static TYPES: LazyLock<RwLock<HashMap<TypeId, &'static OnceLock<ValueType>>>> =
            LazyLock::new(RwLock::default);
        let id = TypeId::of::<T>();
        let known = TYPES.read().get(&id).copied();
        let cell = known.unwrap_or_else(|| {
            // Leaks one cell per type of the program.
            TYPES.write().entry(id).or_insert_with(|| Box::leak(Box::default()))
        });
        // Outside of the lock, because it runs user code.
        cell.get_or_init(|| with_room(Self::find::<T>))
    }

    /// Returns the JSON Schema of its values. Each type is asked once per process.
    pub(crate) fn json(&self) -> &JsonSchema {
        self.json.found.get_or_init(|| with_room(self.json.find))
    }

    fn find<T: Serialize + DeserializeOwned + 'static>() -> Self {
        let name = type_name::<T>();
        let json = LazyJson { find: json_schema::<T>, found: OnceLock::new() };
        let rewrite_by_name = names::rewrite_by_name::<T>;
        let Traced { schema, layout, mut samples, .. } = trace::<T>(false);
        let mut people = trace::<T>(true);
        let text = people.schema.to_string();
        // A sample that cannot be serialized at all is ignored, unless none can be.
        samples.retain(|sample| complaint(sample, false).is_none());
        if people.samples.iter().any(|sample| complaint(sample, true).is_none()) {
            people.samples.retain(|sample| complaint(sample, true).is_none());
        }
        if let Ok(layout) = layout
            && samples.iter().all(|sample| comes_back(&layout, sample).is_ok())
        {
            let form = ValueForm::Positional(layout);
            let canonical = schema.canonical();
            return Self { name, canonical, text, form, untried: false, json, rewrite_by_name };
        }
        let failed = people.samples.iter().find_map(|sample| by_name::unreadable(sample));
        let unbuffered = people.unbuffered && people.samples.is_empty();
        let failed = failed.or_else(|| unbuffered.then(|| UNBUFFERED.to_owned()));
        let form = match failed {
            Some(why) => ValueForm::Refused(refusal(name, &why)),
            None => ValueForm::ByName,
        };
        let canonical = format!("named {}", people.schema.canonical());
        let untried = people.samples.is_empty();
        Self { name, canonical, text, form, untried, json, rewrite_by_name }
    }

    /// Returns why no value of the type can be sent, or `None` if they can.
    pub(crate) fn refused(&self) -> Option<&str> {
        match &self.form {
            ValueForm::Refused(why) => Some(why),
            _ => None,
        }
    }

    /// Returns the type's name if it is written by name, and tracing could not make a value to test
    /// that. A value that does not survive the round trip is then found only when it is sent.
    pub(crate) fn untried(&self) -> Option<&'static str> {
        self.untried.then_some(self.name)
    }

    /// Appends `value`, which is of this type.
    ///
    /// # Errors
    /// The error of its `Serialize`; or if it would arrive as another value, or decoding it takes
    /// more than `max_decoded` bytes of memory.
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
        let (start, mut cost) = (out.len(), DecodeCost::default());
        match codec {
            Codec::Json => return codec.encode(value, out),
            Codec::Bincode => self.put(value, out, &mut cost, max_decoded)?,
            Codec::ByName | Codec::Lossy => self.put_names(value, out, &mut cost, max_decoded)?,
        }
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

    /// Decodes a value of this type from the front of `bytes`. Returns it with the number of bytes
    /// that it took.
    ///
    /// # Errors
    /// If the bytes are invalid, or exceed the budget.
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

    /// Decodes a value of this type that takes up all of `bytes`.
    ///
    /// # Errors
    /// As for [`read`](Self::read), or if bytes are left over.
    pub(crate) fn decode<T>(&self, bytes: &[u8], max_decoded: usize) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.decode_within(bytes, &mut Budget::for_message(bytes.len(), max_decoded))
    }

    /// Decodes lists of values of this type, which are encoded one by one behind their number; for a
    /// `depth` above 1 lists of such lists.
    ///
    /// Values that are written by name are not verified: this process has encoded them.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode).
    pub(crate) fn decode_lists<T>(
        &self,
        bytes: &[u8],
        depth: u8,
        max_decoded: usize,
    ) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let mut budget = Budget::for_message(bytes.len(), max_decoded);
        match &self.form {
            ValueForm::Positional(_) => {
                let (lists, length) = unwinding(|| from_bincode(bytes, &mut budget))?;
                if length == bytes.len() { Ok(lists) } else { Err("bytes are left over".into()) }
            }
            ValueForm::ByName => unwinding(|| by_name::read_lists(bytes, depth, &mut budget)),
            ValueForm::Refused(why) => Err(why.clone()),
        }
    }

    /// Decodes a value of this type that takes up all of `bytes`, within a budget.
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

/// Runs `trace` on a separate stack: samples may nest deeper than the caller's stack allows.
fn with_room<R: Send>(trace: fn() -> R) -> R {
    std::thread::scope(|scope| {
        let builder = Builder::new().name("easyremote-trace".to_owned());
        match builder.stack_size(STACK).spawn_scoped(scope, trace) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system cannot start a thread: use this stack.
            Err(_) => trace(),
        }
    })
}

/// Size of the stack for tracing a type, in bytes. A debug build needs up to 2 MiB.
const STACK: usize = 8 << 20;

/// The reason for types that serde itself cannot buffer.
const UNBUFFERED: &str =
    "serde has no 128-bit integers inside of `flatten`, `tag` and `untagged`; send them as text";

/// Checks that a sample survives a round trip by position.
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

/// Returns the error of a sample's `Serialize`, if it fails.
fn complaint<T: Serialize>(sample: &T, human: bool) -> Option<String> {
    tried(|| digest(sample, human).map(drop).map_err(|complaint| complaint.0)).err()
}

/// Returns why no value of the type `name` can be sent.
fn refusal(name: &str, why: &str) -> String {
    format!(
        "`{name}` cannot cross the network: what its `Serialize` writes is not what its \
         `Deserialize` reads ({why}); put `#[serde(default)]` on fields that are left out, use \
         the same names and adapters in both directions, or send a type that derives both"
    )
}
