//! The functions that a node offers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::function::descriptor::{Descriptor, check_instance};
use crate::function::handler::Handler;
use crate::function::remote::Remote;
use crate::function::signature::Signature;
use crate::function::states::States;
use crate::wire::control::Offer;
use crate::wire::limits::MAX_FUNCTIONS;

/// A list of functions for a node to offer; made by [`functions!`](crate::functions).
#[derive(Debug, Default)]
pub struct Functions {
    list: Vec<Function>,
}

/// One function, ready to be offered.
#[derive(Clone)]
pub struct Function {
    /// Its name on the wire: that of its descriptor, or for an instance one that has its name too.
    pub(crate) name: Cow<'static, str>,
    /// The instance that it is a method of.
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) descriptor: Descriptor,
    pub(crate) signature: &'static Signature,
    pub(crate) handler: Handler,
}

impl Function {
    /// `F`, which `handler` runs.
    pub(crate) fn new<F: Remote>(handler: Handler) -> Self {
        Self {
            name: Cow::Borrowed(F::DESCRIPTOR.name),
            instance: None,
            descriptor: F::DESCRIPTOR,
            signature: F::signature(),
            handler,
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.signature.text)
    }
}

impl<const N: usize> From<[Function; N]> for Functions {
    fn from(list: [Function; N]) -> Self {
        Self { list: list.into() }
    }
}

impl<const N: usize> From<[Functions; N]> for Functions {
    fn from(lists: [Functions; N]) -> Self {
        Self { list: lists.into_iter().flat_map(|functions| functions.list).collect() }
    }
}

impl Functions {
    /// The names of the functions on the wire, in the order of the list. Which instances there are
    /// of a method's type is not known here.
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
    functions: BTreeMap<String, Arc<Function>>,
}

impl Registry {
    /// Orders `functions` by name, with methods once for each value in `states` that they can be
    /// called on.
    ///
    /// # Errors
    /// `InvalidInput` if there are none, too many, or two of one name (the text names both origins), if
    /// one needs a state that is not among `states`, or if an instance has no proper name.
    pub(crate) fn new(functions: Functions, states: &States) -> Result<Self, Error> {
        let refuse = |text: String| Error::new(ErrorKind::InvalidInput, text);
        if functions.list.is_empty() {
            let text = "this node offers no functions; list some: functions![add]";
            return Err(refuse(text.to_owned()));
        }
        if let Some(text) = states.all_instances().find_map(|name| check_instance(name).err()) {
            return Err(refuse(text));
        }
        let mut by_name = BTreeMap::<String, Arc<Function>>::new();
        for function in &functions.list {
            let (name, signature) = (&function.name, function.signature);
            if let Some(why) = &signature.refused {
                return Err(refuse(format!("`{name}` cannot be offered: {why}")));
            }
        }
        for function in functions.list {
            for function in offered(function, states).map_err(refuse)? {
                if let Some(other) = by_name.get(&*function.name) {
                    return Err(refuse(clash(other, &function)));
                }
                by_name.insert(function.name.clone().into_owned(), Arc::new(function));
            }
        }
        if by_name.len() > MAX_FUNCTIONS {
            return Err(refuse(format!("a node may offer {MAX_FUNCTIONS} functions")));
        }
        Ok(Self { functions: by_name })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// The functions that a node with `tags` cannot run, each with the tag that it lacks.
    pub(crate) fn lacking<'a>(
        &'a self,
        tags: &'a [String],
    ) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
        self.functions.values().flat_map(move |function| {
            let needs = function.handler.policy.needs.iter().copied();
            let lacking = needs.filter(move |need| !tags.iter().any(|tag| tag == need));
            lacking.map(move |tag| (function.descriptor.name, tag))
        })
    }

    /// The types of which not one value could be made to try: each function with what of it, and
    /// the type.
    pub(crate) fn untried(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        self.functions.values().flat_map(|function| {
            let untried = function.signature.untried.iter();
            untried.map(|(what, of)| (function.descriptor.name, &**what, *of))
        })
    }

    /// What to tell the gateway.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let offer = |function: &Arc<Function>| Offer {
            name: function.name.clone().into_owned(),
            kind: function.descriptor.kind,
            fingerprint: function.signature.fingerprint,
            parameters: function.descriptor.parameters.iter().map(|&name| name.into()).collect(),
            signature: function.signature.text.clone(),
            doc: function.descriptor.doc.to_owned(),
            needs: function.handler.policy.needs.iter().map(|&tag| tag.into()).collect(),
            concurrency: function.handler.policy.concurrency.into(),
        };
        self.functions.values().map(offer).collect()
    }
}

/// `function` as often as the node can offer it: once, or for a method once for the state of its
/// type and once for each instance.
///
/// # Errors
/// What the node does not have.
fn offered(function: Function, states: &States) -> Result<Vec<Function>, String> {
    let name = &function.name;
    if let Some(state) = function.handler.states.iter().find(|state| !states.has(state)) {
        return Err(format!(
            "`{name}` needs a state of type `{}`; give the node one: `Node::builder(..).state(value)`",
            state.name
        ));
    }
    let Some(receiver) = function.handler.receiver else { return Ok(vec![function]) };
    let instances = states.instances(&receiver).map(|instance| {
        let name = function.descriptor.name_at(instance).map(Cow::Owned)?;
        let mut function = function.clone();
        // The limit of calls is one of each instance.
        function.handler.policy.renew();
        Ok(Function { name, instance: Some(instance.clone()), ..function })
    });
    let state = states.has(&receiver).then(|| Ok(function.clone()));
    let offered: Vec<Function> =
        state.into_iter().chain(instances).collect::<Result<_, String>>()?;
    if offered.is_empty() {
        return Err(format!(
            "`{name}` is a method of `{}`, and the node has no value of that type; give it one: \
             `Node::builder(..).state(value)`, or several: `.instance(\"name\", value)`",
            receiver.name
        ));
    }
    Ok(offered)
}

/// What to say about two functions of one name.
fn clash(one: &Function, two: &Function) -> String {
    let name = &one.name;
    let (first, second) = (one.descriptor.origin, two.descriptor.origin);
    let types = one.handler.receiver.zip(two.handler.receiver).filter(|(one, two)| one != two);
    match types {
        _ if first != second => format!(
            "two functions are called `{name}`, at {first} and at {second}; give one another name: \
             #[remote(name = \"..\")]"
        ),
        Some((one, two)) => format!(
            "`{name}` is a method of two values, of type `{}` and of type `{}`; give each a name of \
             its own: `Node::builder(..).instance(\"name\", value)`",
            one.name, two.name
        ),
        None => format!("`{name}` is listed twice"),
    }
}
