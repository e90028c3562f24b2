//! Questions to one node of a traced type, which a pass asks on its way.

use serde::de::value::{MapDeserializer, SeqDeserializer, UnitDeserializer};
use serde::de::{DeserializeSeed, IntoDeserializer, Visitor};

use super::graph::{Fault, Graph, Rejection};

/// A question to one node.
pub(super) struct Probe {
    pub(super) node: usize,
    pub(super) question: ProbeQuestion,
    pub(super) answer: Option<ProbeAnswer>,
}

#[derive(Clone)]
pub(super) enum ProbeQuestion {
    /// Do these fields of this branch suffice?
    Fields(usize, GivenFields),
    /// Is a value of this kind refused, whatever it is?
    Kind(JsonKind),
    /// Which names are there?
    Names,
    /// Do these entries suffice?
    Entries(GivenEntries),
}

/// The answer of a type.
#[derive(Clone, Copy)]
pub(super) enum ProbeAnswer {
    Accepted,
    /// It misses this field.
    Missing(&'static str),
    /// It refuses any value of this kind.
    WrongKind,
    /// It refuses fields of other names.
    UnknownField,
    /// It has only these variants.
    Variants(&'static [&'static str]),
    /// It refuses the value for another reason.
    Refused,
    /// It refuses values by name before it has read one.
    Unasked,
}

impl ProbeAnswer {
    fn of(rejection: Option<&Rejection>) -> Self {
        match rejection {
            None => Self::Accepted,
            Some(Rejection { missing: Some(field), .. }) => Self::Missing(field),
            Some(Rejection { variants: Some(names), .. }) => Self::Variants(names),
            Some(Rejection { wrong_kind: true, .. }) => Self::WrongKind,
            Some(Rejection { unknown_field: true, .. }) => Self::UnknownField,
            Some(_) => Self::Refused,
        }
    }
}

/// A kind of value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonKind {
    Null,
    Bool,
    Positive,
    Negative,
    Fraction,
    Str,
    Seq,
    Map,
}

impl JsonKind {
    pub(super) const ALL: [Self; 8] = [
        Self::Null,
        Self::Bool,
        Self::Positive,
        Self::Negative,
        Self::Fraction,
        Self::Str,
        Self::Seq,
        Self::Map,
    ];

    /// Lets `visitor` take a value of this kind.
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejection> {
        type Nothing = std::iter::Empty<()>;
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool => visitor.visit_bool(false),
            Self::Positive => visitor.visit_u64(0),
            Self::Negative => visitor.visit_i64(-1),
            Self::Fraction => visitor.visit_f64(0.5),
            Self::Str => visitor.visit_borrowed_str(""),
            Self::Seq => visitor.visit_seq(SeqDeserializer::<Nothing, _>::new(std::iter::empty())),
            Self::Map => visitor.visit_map(MapDeserializer::new(std::iter::empty::<((), ())>())),
        }
    }

    /// Lets `seed` take a value of this kind.
    pub(super) fn give<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Rejection> {
        match self {
            Self::Null => seed.deserialize(UnitDeserializer::new()),
            Self::Bool => seed.deserialize(false.into_deserializer()),
            Self::Positive => seed.deserialize(0_u64.into_deserializer()),
            Self::Negative => seed.deserialize((-1_i64).into_deserializer()),
            Self::Fraction => seed.deserialize(0.5_f64.into_deserializer()),
            Self::Str => seed.deserialize("".into_deserializer()),
            Self::Seq | Self::Map => {
                seed.deserialize(SeqDeserializer::new(std::iter::empty::<()>()))
            }
        }
    }
}

/// Some fields of a struct.
#[derive(Clone, Default)]
pub(super) struct GivenFields {
    pub(super) names: Vec<&'static str>,
    /// Whether a field of an unknown name comes after them.
    pub(super) unknown: bool,
}

/// Some entries of a struct that requests any value: its tag, and other fields with values of a
/// kind.
#[derive(Clone)]
pub(super) struct GivenEntries {
    pub(super) tag: (&'static str, &'static str),
    pub(super) fields: Vec<(&'static str, JsonKind)>,
}

impl Graph {
    /// Returns the question to `node`, if the running pass has one.
    fn question(&self, node: usize) -> Option<&ProbeQuestion> {
        self.probe.as_ref().filter(|probe| probe.node == node).map(|probe| &probe.question)
    }

    pub(super) fn probed_fields(&self, node: usize, branch: usize) -> Option<GivenFields> {
        match self.question(node)? {
            ProbeQuestion::Fields(of, given) if *of == branch => Some(given.clone()),
            _ => None,
        }
    }

    pub(super) fn probed_kind(&self, node: usize) -> Option<JsonKind> {
        match self.question(node)? {
            ProbeQuestion::Kind(kind) => Some(*kind),
            _ => None,
        }
    }

    pub(super) fn probed_entries(&self, node: usize) -> Option<GivenEntries> {
        match self.question(node)? {
            ProbeQuestion::Entries(given) => Some(given.clone()),
            _ => None,
        }
    }

    pub(super) fn is_probed_name(&self, node: usize) -> bool {
        matches!(self.question(node), Some(ProbeQuestion::Names))
    }

    /// Records what `node` has answered.
    pub(super) fn answered<T>(
        &mut self,
        node: usize,
        made: Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        self.answer(node, ProbeAnswer::of(made.as_ref().err()));
        if made.is_err() {
            // No other sample is to blame.
            self.fault = Fault::Retry;
        }
        // A type that buffers the value reads it after this: see `answered_later`.
        self.keyed = Some(node);
        made
    }

    /// Records why a part was rejected whose value `node` had accepted, if it was asked.
    pub(super) fn answered_later(&mut self, node: usize, rejection: &Rejection) -> bool {
        if self.question(node).is_none() {
            return false;
        }
        self.answer(node, ProbeAnswer::of(Some(rejection)));
        self.fault = Fault::Retry;
        true
    }

    /// Records the answer of `node`.
    pub(super) fn answer(&mut self, node: usize, answer: ProbeAnswer) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.node == node) {
            probe.answer = Some(answer);
        }
    }
}

/// A name that no field and no variant has.
pub(super) const UNKNOWN_NAME: &str = "easyremote has no such name";
