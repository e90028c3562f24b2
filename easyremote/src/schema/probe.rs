//! Questions to a traced type that its trace leaves open: what a JSON caller may leave out.
//!
//! A pass that asks a question hands out the smallest known values, except at one node:
//!
//! | node                  | what it is given              | what its answer tells                  |
//! |-----------------------|-------------------------------|----------------------------------------|
//! | a struct              | some of its fields, by name   | which one it misses                    |
//! | a struct              | a field of an unknown name    | whether it refuses it                  |
//! | any value             | a value of each kind in JSON  | which kinds it refuses whatever it is  |
//! | a tag                 | an unknown name               | the names of the variants              |
//! | an enum with a tag    | a tag, and some of its fields | which field that variant misses        |
//!
//! Runs on a graph of its own, so that fingerprints do not depend on it.

use std::collections::BTreeMap;

use serde::de::value::{StrDeserializer, UnitDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor};

use super::graph::{Graph, NodeKind, Rejection};
use super::keyed::FIRST_KEYED;
use super::parts::TracedParts;
use super::question::{
    GivenEntries, GivenFields, JsonKind, Probe, ProbeAnswer, ProbeQuestion, UNKNOWN_NAME,
};

/// What the type has answered.
#[derive(Default)]
pub(super) struct Answers {
    /// By node and branch, which fields a struct requires.
    pub(super) fields: BTreeMap<(usize, usize), FieldDemands>,
    /// By node, the kinds of values that are not refused.
    pub(super) kinds: BTreeMap<usize, Vec<JsonKind>>,
    /// By node, the tag of a struct and its variants.
    pub(super) tags: BTreeMap<usize, TagDemands>,
}

/// Which fields a struct requires.
pub(super) enum FieldDemands {
    Known {
        required: Vec<&'static str>,
        /// Whether it refuses other fields.
        strict: bool,
    },
    /// It accepts its fields by position only.
    ByPosition,
}

/// The tag of an internally or adjacently tagged enum.
pub(super) struct TagDemands {
    pub(super) tag: &'static str,
    /// The variants, and which fields each requires beside the tag.
    pub(super) variants: Vec<(&'static str, Vec<&'static str>)>,
}

impl GivenFields {
    /// Lets `visitor` take the fields of the branch of `parts`.
    pub(super) fn visit<'de, V: Visitor<'de>>(
        self,
        mut parts: TracedParts<'_>,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let node = parts.node;
        let known = parts.graph.fields(node, parts.branch).names.iter().enumerate();
        let given: Vec<_> = known
            .filter(|(_, name)| self.names.contains(*name))
            .map(|(i, name)| (i, *name))
            .collect();
        let mut fields =
            ProbedFields { parts: &mut parts, given, next: 0, unknown: self.unknown, asked: false };
        let made = visitor.visit_map(&mut fields);
        let asked = fields.asked;
        let made = parts.graph.answered(node, made);
        if !asked && made.is_err() {
            parts.graph.answer(node, ProbeAnswer::Unasked);
        }
        made
    }
}

/// The fields that are handed out.
struct ProbedFields<'a, 'g> {
    parts: &'a mut TracedParts<'g>,
    given: Vec<(usize, &'static str)>,
    next: usize,
    unknown: bool,
    /// Whether the type has asked for a field.
    asked: bool,
}

impl<'de> MapAccess<'de> for ProbedFields<'_, '_> {
    type Error = Rejection;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejection> {
        self.asked = true;
        self.next += 1;
        let name = match self.given.get(self.next - 1) {
            Some((_, name)) => name,
            None if self.unknown && self.next - 1 == self.given.len() => UNKNOWN_NAME,
            None => return Ok(None),
        };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejection> {
        match self.given.get(self.next.saturating_sub(1)) {
            Some(&(index, _)) => self.parts.make(index, seed),
            None => seed.deserialize(UnitDeserializer::new()),
        }
    }
}

impl GivenEntries {
    /// Lets `visitor` take the entries.
    pub(super) fn visit<'de, V: Visitor<'de>>(
        &self,
        graph: &mut Graph,
        node: usize,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let made = visitor.visit_map(ProbedEntries { given: self, next: 0 });
        graph.answered(node, made)
    }
}

/// The entries that are handed out.
struct ProbedEntries<'a> {
    given: &'a GivenEntries,
    next: usize,
}

impl<'de> MapAccess<'de> for ProbedEntries<'_> {
    type Error = Rejection;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejection> {
        let name = match self.next.checked_sub(1) {
            None => Some(self.given.tag.0),
            Some(index) => self.given.fields.get(index).map(|(name, _)| *name),
        };
        self.next += 1;
        name.map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejection> {
        match self.next.checked_sub(2).and_then(|index| self.given.fields.get(index)) {
            Some((_, kind)) => kind.give(seed),
            None => seed.deserialize(StrDeserializer::new(self.given.tag.1)),
        }
    }
}

impl Graph {
    /// Asks the traced `T` everything.
    pub(super) fn ask_all<T: DeserializeOwned>(&mut self) -> Answers {
        let mut asking =
            Asking { ways: self.ways(), left: MAX_PROBES, answers: Answers::default() };
        for id in 0..self.nodes.len() {
            if asking.left == 0 || self.exhausted {
                break;
            }
            match self.nodes[id].key.kind {
                NodeKind::Any => asking.ask_any::<T>(self, id),
                NodeKind::Struct(..) | NodeKind::Enum(..) => asking.ask_fields::<T>(self, id),
                _ => {}
            }
        }
        asking.answers
    }
}

/// The state of asking.
struct Asking {
    /// The ways to all nodes.
    ways: Vec<Option<(usize, usize)>>,
    /// Passes left.
    left: usize,
    answers: Answers,
}

impl Asking {
    /// Asks one node; `None` if it was not reached.
    fn ask<T: DeserializeOwned>(
        &mut self,
        graph: &mut Graph,
        (node, choice): (usize, usize),
        question: ProbeQuestion,
    ) -> Option<ProbeAnswer> {
        self.left = self.left.checked_sub(1)?;
        graph.rest_around(node, choice, &self.ways);
        graph.probe = Some(Probe { node, question, answer: None });
        let made = graph.pass::<T>();
        let answer = graph.probe.take().and_then(|probe| probe.answer);
        if made.is_err() {
            // The type has panicked.
            self.left = 0;
        }
        answer
    }

    /// Asks for the fields of each branch of a struct or an enum.
    fn ask_fields<T: DeserializeOwned>(&mut self, graph: &mut Graph, id: usize) {
        if self.ask_adjacent::<T>(graph, id) {
            return;
        }
        for branch in 0..graph.nodes[id].branches.len() {
            let of = &graph.nodes[id];
            let is_struct = matches!(of.key.kind, NodeKind::Struct(..));
            if of.branches[branch].fields.is_none() {
                continue;
            }
            let choice = of.finished.iter().position(|finished| *finished == branch);
            let Some(choice) = choice.or(is_struct.then_some(0)) else { continue };
            let names = of.branches[branch].field_names().to_vec();
            let mut given = GivenFields::default();
            let suffice = loop {
                let question = ProbeQuestion::Fields(branch, given.clone());
                match self.ask::<T>(graph, (id, choice), question) {
                    Some(ProbeAnswer::Missing(name))
                        if names.contains(&name) && !given.names.contains(&name) =>
                    {
                        given.names.push(name);
                    }
                    answer => break answer,
                }
            };
            let demands = match suffice {
                Some(ProbeAnswer::Accepted) => {
                    let required = given.names.clone();
                    let question =
                        ProbeQuestion::Fields(branch, GivenFields { unknown: true, ..given });
                    let answer = self.ask::<T>(graph, (id, choice), question);
                    let strict = matches!(answer, Some(ProbeAnswer::UnknownField));
                    FieldDemands::Known { required, strict }
                }
                Some(ProbeAnswer::Unasked) => FieldDemands::ByPosition,
                // What it has missed is required, whatever it says of the values.
                _ => FieldDemands::Known { required: given.names, strict: false },
            };
            self.answers.fields.insert((id, branch), demands);
        }
    }

    /// Asks an adjacently tagged enum for its variants. Returns whether it is one: it requests a
    /// struct whose first field is the name of something.
    fn ask_adjacent<T: DeserializeOwned>(&mut self, graph: &mut Graph, id: usize) -> bool {
        let branch = graph.nodes[id].branches.first();
        let Some(([tag, _], slots)) = branch.map(|it| (it.field_names(), &it.slots)) else {
            return false;
        };
        let (tag, first) = (*tag, slots.first().copied().flatten());
        match first.filter(|slot| graph.nodes[*slot].key.kind == NodeKind::Identifier) {
            Some(slot) => self.ask_tag::<T>(graph, id, (tag, slot)),
            None => return false,
        }
        true
    }

    /// Asks for the variants of the enum `id`, whose tag is at the node `slot`.
    fn ask_tag<T: DeserializeOwned>(
        &mut self,
        graph: &mut Graph,
        id: usize,
        (tag, slot): (&'static str, usize),
    ) {
        let answer = self.ask::<T>(graph, (slot, 0), ProbeQuestion::Names);
        let Some(ProbeAnswer::Variants(names)) = answer else { return };
        let variants = names.iter().take(MAX_VARIANTS);
        let variants: Vec<_> = variants
            .map(|&name| (name, self.fields_of_variant::<T>(graph, id, (tag, name))))
            .collect();
        if variants.len() == names.len() {
            self.answers.tags.insert(id, TagDemands { tag, variants });
        }
    }

    /// Asks a type that requests any value: which kinds it refuses, and about its tag.
    fn ask_any<T: DeserializeOwned>(&mut self, graph: &mut Graph, id: usize) {
        let mut kinds = Vec::new();
        for kind in JsonKind::ALL {
            match self.ask::<T>(graph, (id, 0), ProbeQuestion::Kind(kind)) {
                Some(ProbeAnswer::WrongKind) => {}
                Some(_) => kinds.push(kind),
                None => return,
            }
        }
        self.answers.kinds.insert(id, kinds);
        let branch = &graph.nodes[id].branches[0];
        let slots = branch.slots.iter().skip(FIRST_KEYED).copied();
        let tag = branch.keys.iter().zip(slots).find_map(|(key, slot)| {
            let slot = slot.filter(|slot| graph.nodes[*slot].key.kind == NodeKind::Identifier);
            slot.map(|slot| (*key, slot))
        });
        if let Some(tag) = tag {
            self.ask_tag::<T>(graph, id, tag);
        }
    }

    /// Returns the fields that one variant of a tagged enum requires, as far as it
    /// tells them: it stops at a field that accepts no sample.
    fn fields_of_variant<T: DeserializeOwned>(
        &mut self,
        graph: &mut Graph,
        id: usize,
        tag: (&'static str, &'static str),
    ) -> Vec<&'static str> {
        let mut given = GivenEntries { tag, fields: Vec::new() };
        loop {
            let answer = self.ask::<T>(graph, (id, 0), ProbeQuestion::Entries(given.clone()));
            let known =
                |name| name == tag.0 || given.fields.iter().any(|(other, _)| *other == name);
            match answer {
                Some(ProbeAnswer::Missing(name))
                    if !known(name) && given.fields.len() < MAX_FIELDS =>
                {
                    given.fields.push((name, SAMPLES[0]));
                    continue;
                }
                Some(ProbeAnswer::Accepted | ProbeAnswer::Missing(_)) | None => {}
                Some(_) => {
                    // Another kind of value for the field that was added last.
                    if let Some((_, kind)) = given.fields.last_mut() {
                        let at = SAMPLES.iter().position(|sample| sample == kind);
                        if let Some(next) = at.and_then(|at| SAMPLES.get(at + 1)) {
                            *kind = *next;
                            continue;
                        }
                    }
                }
            }
            return given.fields.into_iter().map(|(name, _)| name).collect();
        }
    }
}

/// Values for the fields of a variant. No map: a struct in it would miss its own fields, and
/// nothing tells them from those of the variant.
const SAMPLES: [JsonKind; 6] = [
    JsonKind::Positive,
    JsonKind::Str,
    JsonKind::Bool,
    JsonKind::Fraction,
    JsonKind::Null,
    JsonKind::Seq,
];

/// Most questions to one type: a struct takes one for each field that it requires, and two more.
const MAX_PROBES: usize = 4_096;
/// Most variants of a tagged enum that are asked for.
const MAX_VARIANTS: usize = 256;
/// Most fields of such a variant.
const MAX_FIELDS: usize = 64;
