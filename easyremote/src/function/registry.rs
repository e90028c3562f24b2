//! The functions that a node offers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::call::function_meter::FunctionMeter;
use crate::error::{Error, ErrorKind};
use crate::function::descriptor::{Descriptor, check_instance};
use crate::function::handler::Handler;
use crate::function::json_schemas::schemas;
use crate::function::remote::Remote;
use crate::function::signature::Signature;
use crate::function::states::States;
use crate::wire::control::Offer;
use crate::wire::fields;
use crate::wire::limits::{MAX_CONTROL, MAX_FUNCTIONS, MAX_LIST, MAX_NAME};

/// A list of functions for a node to offer; created by [`functions!`](crate::functions).
///
/// The default is an empty list.
///
/// ```
/// use easyremote::node::Functions;
/// use easyremote::{functions, remote};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// let offered: Functions = functions![add];
/// assert_eq!(offered.names().collect::<Vec<_>>(), ["add"]);
/// ```
#[derive(Debug, Default)]
#[doc(alias = "registry")]
#[doc(alias = "router")]
#[doc(alias = "service")]
pub struct Functions {
    list: Vec<Function>,
}

/// One function, ready to be offered.
#[derive(Clone)]
pub struct Function {
    /// The name on the wire: that of the descriptor, or for a method of an instance one that
    /// includes the instance's name.
    pub(crate) name: Cow<'static, str>,
    /// The instance that the method is called on.
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) descriptor: Descriptor,
    pub(crate) signature: &'static Signature,
    pub(crate) handler: Handler,
    /// What is counted of its calls.
    pub(crate) meter: Arc<FunctionMeter>,
}

impl Function {
    /// Creates the function `F`, run by `handler`.
    pub(crate) fn new<F: Remote>(handler: Handler) -> Self {
        Self {
            name: Cow::Borrowed(F::DESCRIPTOR.name),
            instance: None,
            descriptor: F::DESCRIPTOR,
            signature: F::signature(),
            handler,
            meter: Arc::default(),
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
    /// Returns the names of the functions on the wire, in the order of the list.
    ///
    /// A method appears once, as `Model.embed`: the names of
    /// [instances](crate::node::NodeBuilder::instance) are known to the node only.
    ///
    /// ```
    /// use easyremote::{functions, remote};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// #[remote(name = "math.negate")]
    /// fn negate(a: i64) -> i64 {
    ///     -a
    /// }
    ///
    /// let names: Vec<String> = functions![add, negate].names().map(str::to_owned).collect();
    /// assert_eq!(names, ["add", "math.negate"]);
    /// ```
    #[doc(alias = "iter")]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|function| function.descriptor.name)
    }

    /// Sorts the functions by file and line.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|function| {
            let origin = function.descriptor.origin;
            (origin.file, origin.line, function.descriptor.name)
        });
    }

    /// Appends all functions of `other`.
    ///
    /// A function that is then listed twice makes [`Node::serve`](crate::Node::serve) fail.
    ///
    /// ```
    /// use easyremote::{functions, remote};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// #[remote]
    /// fn reset() {}
    ///
    /// let mut offered = functions![add];
    /// if cfg!(debug_assertions) {
    ///     offered.extend(functions![reset]);
    /// }
    /// ```
    #[doc(alias = "merge")]
    #[doc(alias = "append")]
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
    /// Indexes `functions` by name. A method appears once for each value in `states` that it can be
    /// called on.
    ///
    /// # Errors
    /// `InvalidInput` if there are no functions or too many, if two have the same name (the text
    /// names both origins), if one needs a state that is not among `states`, or if the name of an
    /// instance is invalid.
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
            let n = by_name.len();
            let text =
                format!("this node offers {n} functions; at most {MAX_FUNCTIONS} are allowed");
            return Err(refuse(text));
        }
        Ok(Self { functions: by_name })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }

    /// Returns the functions that a node with `tags` cannot run, each with a tag that is missing.
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

    /// Returns the types that could not be tested, because no sample value could be built: the
    /// function, the part of its signature, and the type.
    pub(crate) fn untried(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        self.functions.values().flat_map(|function| {
            let untried = function.signature.untried.iter();
            untried.map(|(what, of)| (function.descriptor.name, &**what, *of))
        })
    }

    /// Returns the descriptions of the functions for the gateway, and those functions whose schemas
    /// are left out, each with the reason.
    pub(crate) fn offers(&self) -> (Vec<Offer>, Vec<(&str, String)>) {
        let mut offers: Vec<_> = self.plain_offers().collect();
        let mut plain = Vec::new();
        fields::put(&offers, &mut plain);
        let mut room = MAX_CONTROL.saturating_sub(plain.len() + RESERVED_FOR_TAGS);
        let mut left_out = Vec::new();
        for (offer, (name, function)) in offers.iter_mut().zip(&self.functions) {
            let schemas = schemas(&function.descriptor, function.signature).and_then(|text| {
                let length = text.len() + LENGTH;
                room = room.checked_sub(length).ok_or("the registration is too long with them")?;
                Ok(text)
            });
            match schemas {
                Ok(text) => offer.schemas = text,
                Err(why) => left_out.push((name.as_str(), why)),
            }
        }
        (offers, left_out)
    }

    /// Returns the descriptions of the functions without their schemas.
    fn plain_offers(&self) -> impl Iterator<Item = Offer> {
        let offer = |function: &Arc<Function>| Offer {
            name: function.name.clone().into_owned(),
            kind: function.descriptor.kind,
            fingerprint: function.signature.fingerprint,
            parameters: function.descriptor.parameters.iter().map(|&name| name.into()).collect(),
            signature: function.signature.text.clone(),
            doc: function.descriptor.doc.to_owned(),
            needs: function.handler.policy.needs.iter().map(|&tag| tag.into()).collect(),
            concurrency: function.handler.policy.max_calls(),
            timeout_ms: function.descriptor.timeout.map_or(0, |it| it.as_millis() as u64),
            idempotent: function.descriptor.idempotent,
            tool: function.descriptor.tool,
            schemas: Arc::default(),
        };
        self.functions.values().map(offer)
    }
}

/// Bytes of a registration that its tags, and what is around its functions, may take.
const RESERVED_FOR_TAGS: usize = MAX_LIST * (MAX_NAME + LENGTH) + 64;

/// Bytes of the length of a text in a message, which is less than 2^16.
const LENGTH: usize = 3;

/// Returns what the node offers for `function`: the function itself, or for a method one function
/// for the state of its type and one for each instance.
///
/// # Errors
/// The state or value that the node lacks.
fn offered(function: Function, states: &States) -> Result<Vec<Function>, String> {
    let name = &function.name;
    if let Some(state) = function.handler.states.iter().find(|state| !states.has(state)) {
        return Err(format!(
            "`{name}` needs a state of type `{}`; give the node one: \
             `Node::builder(..).state(value)`",
            state.name
        ));
    }
    let Some(receiver) = function.handler.receiver else { return Ok(vec![function]) };
    let instances = states.instances(&receiver).map(|instance| {
        let name = function.descriptor.name_at(instance).map(Cow::Owned)?;
        let mut function = function.clone();
        // The limit of concurrent calls applies to each instance separately.
        function.handler.policy.renew();
        let (instance, meter) = (Some(instance.clone()), Arc::default());
        Ok(Function { name, instance, meter, ..function })
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

/// Describes two functions of one name.
fn clash(one: &Function, two: &Function) -> String {
    let name = &one.name;
    let (first, second) = (one.descriptor.origin, two.descriptor.origin);
    let types = one.handler.receiver.zip(two.handler.receiver).filter(|(one, two)| one != two);
    match types {
        _ if first != second => format!(
            "two functions are called `{name}`, at {first} and at {second}; rename one of them: \
             #[remote(name = \"..\")]"
        ),
        Some((one, two)) => format!(
            "`{name}` is a method of two values, of type `{}` and of type `{}`; give each a name: \
             `Node::builder(..).instance(\"name\", value)`",
            one.name, two.name
        ),
        None => format!("`{name}` is listed twice"),
    }
}
