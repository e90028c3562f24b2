//! The functions that a node offers.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::function::context::States;
use crate::function::descriptor::Descriptor;
use crate::function::handler::Handler;
use crate::function::signature::Signature;
use crate::wire::control::Offer;
use crate::wire::limits::MAX_FUNCTIONS;

/// A list of functions for a node to offer; made by [`functions!`](crate::functions).
#[derive(Debug, Default)]
pub struct Functions {
    list: Vec<Function>,
}

/// One function, ready to be offered.
pub struct Function {
    pub(crate) descriptor: Descriptor,
    pub(crate) signature: &'static Signature,
    pub(crate) handler: Handler,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.descriptor.name, self.signature.text)
    }
}

impl<const N: usize> From<[Function; N]> for Functions {
    fn from(list: [Function; N]) -> Self {
        Self { list: list.into() }
    }
}

impl Functions {
    /// The names of the functions on the wire, in the order of the list.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|function| function.descriptor.name)
    }

    /// Orders the functions as their files and lines are.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|function| {
            let origin = function.descriptor.origin;
            (origin.file, origin.line, function.descriptor.name)
        });
    }

    /// Adds all functions of `other`.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
    }
}

/// Functions by name.
#[derive(Debug)]
pub(crate) struct Registry {
    functions: BTreeMap<&'static str, Function>,
}

impl Registry {
    /// Orders `functions` by name.
    ///
    /// # Errors
    /// `Protocol` if there are none, too many, or two of one name (the text names both origins), or
    /// if one needs a state that is not among `states`.
    pub(crate) fn new(functions: Functions, states: &States) -> Result<Self, Error> {
        let refuse = |text: String| Err(Error::new(ErrorKind::Protocol, text));
        if functions.list.is_empty() {
            return refuse("this node offers no functions; list some: functions![add]".into());
        }
        if functions.list.len() > MAX_FUNCTIONS {
            return refuse(format!("a node may offer {MAX_FUNCTIONS} functions"));
        }
        let mut by_name: BTreeMap<&'static str, Function> = BTreeMap::new();
        for function in functions.list {
            let name = function.descriptor.name;
            if let Some(state) = function.handler.states.iter().find(|state| !states.has(state)) {
                return refuse(format!(
                    "`{name}` needs a state of type `{}`; give the node one: \
                     `Node::builder(..).state(value)`",
                    state.name
                ));
            }
            if let Some(other) = by_name.get(name) {
                let (one, two) = (other.descriptor.origin, function.descriptor.origin);
                return refuse(if one == two {
                    format!("`{name}` is listed twice")
                } else {
                    format!(
                        "two functions are called `{name}`, at {one} and at {two}; give one \
                         another name: #[remote(name = \"..\")]"
                    )
                });
            }
            by_name.insert(name, function);
        }
        Ok(Self { functions: by_name })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Function> {
        self.functions.get(name)
    }

    /// The functions that a node with `tags` cannot run, each with the tag that it lacks.
    pub(crate) fn lacking<'a>(
        &'a self,
        tags: &'a [String],
    ) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
        self.functions.values().flat_map(move |function| {
            let needs = function.handler.terms.needs.iter().copied();
            let lacking = needs.filter(move |need| !tags.iter().any(|tag| tag == need));
            lacking.map(move |tag| (function.descriptor.name, tag))
        })
    }

    /// What to tell the gateway.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let offer = |function: &Function| Offer {
            name: function.descriptor.name.to_owned(),
            kind: function.descriptor.kind,
            fingerprint: function.signature.fingerprint,
            parameters: function.descriptor.parameters.iter().map(|&name| name.into()).collect(),
            signature: function.signature.text.clone(),
            doc: function.descriptor.doc.to_owned(),
            needs: function.handler.terms.needs.iter().map(|&tag| tag.into()).collect(),
            concurrency: function.handler.terms.concurrency.into(),
        };
        self.functions.values().map(offer).collect()
    }
}
