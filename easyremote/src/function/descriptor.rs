//! The description of a function that is known at compile time.

use std::fmt;
use std::time::Duration;

use crate::wire::codec::Codec;
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_NAME;

/// The compile-time description of a remote function; written by `#[remote]`.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub(crate) name: &'static str,
    /// For a method, the part of its name that stands for the type or trait.
    pub(crate) owner: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) parameters: &'static [&'static str],
    /// The doc comments of the arguments, in order; empty if there are none.
    pub(crate) parameter_docs: &'static [&'static str],
    pub(crate) doc: &'static str,
    pub(crate) timeout: Option<Duration>,
    /// Whether running it twice has the same effect as running it once.
    pub(crate) idempotent: bool,
    /// Whether it runs on after its caller has left.
    pub(crate) detached: bool,
    /// Whether the function has a `#[resume]` parameter.
    pub(crate) resumes: bool,
    /// Whether the stream that the caller sends goes on after a lost connection.
    pub(crate) resumable: bool,
    /// Whether it is offered to agents.
    pub(crate) tool: bool,
    /// How it is called where a node has another version of its types; `None` if it is not.
    pub(crate) skew: Option<Skew>,
    pub(crate) origin: Origin,
}

/// How a caller and a node with different versions of a function's types understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skew {
    /// By the names of arguments, fields and variants. What one side does not know is an error.
    ByName,
    /// By name. Fields that one side does not know are left out, and counted.
    Lossy,
}

impl Skew {
    /// Returns the codec of calls by name.
    pub(crate) fn codec(self) -> Codec {
        match self {
            Self::ByName => Codec::ByName,
            Self::Lossy => Codec::Lossy,
        }
    }
}

/// The place where a function is defined, for errors about two functions of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Descriptor {
    /// Describes a function that is called `name` on the wire and is defined at `file:line`.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, file: &'static str, line: u32) -> Self {
        Self {
            name,
            kind,
            parameters: &[],
            parameter_docs: &[],
            doc: "",
            timeout: None,
            idempotent: false,
            detached: false,
            resumes: false,
            resumable: false,
            tool: false,
            skew: None,
            owner: None,
            origin: Origin { file, line },
        }
    }

    /// Makes it a method of `owner`, the first part of its name: `Model` in `Model.embed`.
    #[must_use]
    pub const fn method_of(mut self, owner: &'static str) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the names of the arguments, in order.
    #[must_use]
    pub const fn parameters(mut self, parameters: &'static [&'static str]) -> Self {
        self.parameters = parameters;
        self
    }

    /// Sets the doc comments of the arguments, in order.
    #[must_use]
    pub const fn parameter_docs(mut self, docs: &'static [&'static str]) -> Self {
        self.parameter_docs = docs;
        self
    }

    /// Sets the function's doc comment.
    #[must_use]
    pub const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// Sets the default timeout of a call, in milliseconds.
    #[must_use]
    pub const fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout = Some(Duration::from_millis(timeout_ms));
        self
    }

    /// Marks the function as idempotent: running it twice has the same effect as running it once.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Marks the function as one that runs on after its caller has left.
    #[must_use]
    pub const fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Notes that the function has a `#[resume]` parameter.
    #[must_use]
    pub const fn resumes(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Lets the stream that the caller sends go on after a lost connection.
    #[must_use]
    pub const fn resumable(mut self) -> Self {
        self.resumable = true;
        self
    }

    /// Offers the function to agents.
    #[must_use]
    pub const fn tool(mut self) -> Self {
        self.tool = true;
        self
    }

    /// Lets a caller and a node have different versions of its types, and understand each other by name.
    #[must_use]
    pub const fn by_name(mut self) -> Self {
        self.skew = Some(Skew::ByName);
        self
    }

    /// As [`by_name`](Self::by_name), and leaves out the fields that one side does not know.
    #[must_use]
    pub const fn lossy(mut self) -> Self {
        self.skew = Some(Skew::Lossy);
        self
    }

    /// Sets the place where a declared function is implemented.
    #[must_use]
    pub const fn implemented_at(mut self, file: &'static str, line: u32) -> Self {
        self.origin = Origin { file, line };
        self
    }

    /// Returns the method's name for the instance `instance`: `Model:small.embed`.
    ///
    /// # Errors
    /// Why the name of the instance is invalid.
    pub(crate) fn name_at(&self, instance: &str) -> Result<String, String> {
        check_instance(instance)?;
        let owner = self.owner.unwrap_or(self.name);
        let name = format!("{owner}:{instance}{}", &self.name[owner.len()..]);
        if name.len() > MAX_NAME {
            let length = name.len();
            return Err(format!(
                "the instance name `{instance}` is too long: `{name}` has {length} bytes, \
                 {MAX_NAME} are allowed"
            ));
        }
        Ok(name)
    }
}

/// Checks the name of an instance, which is a part of names on the wire.
///
/// # Errors
/// Why the name is invalid.
pub(crate) fn check_instance(instance: &str) -> Result<(), String> {
    if instance.is_empty() {
        return Err("the name of an instance is empty".to_owned());
    }
    match instance.chars().find(|c| !c.is_ascii_alphanumeric() && !"_/-".contains(*c)) {
        Some(odd) => {
            let (instance, odd) = (instance.escape_debug(), odd.escape_debug());
            Err(format!(
                "the instance name `{instance}` has a `{odd}`: only `A-Z a-z 0-9 _ / -` are allowed"
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_a_name_for_each_instance() {
        let method = Descriptor::new("ai.Model.embed", Kind::Unary, "", 0).method_of("ai.Model");
        assert_eq!(method.name_at("small").unwrap(), "ai.Model:small.embed");
        assert_eq!(method.name_at("v1/x-2_b").unwrap(), "ai.Model:v1/x-2_b.embed");
        for (instance, part) in [
            ("", "is empty"),
            ("a.b", "`a.b` has a `.`"),
            ("a:b", "has a `:`"),
            ("ß", "has a `ß`"),
            ("a\n", "`a\\n` has a `\\n`"),
            (&"x".repeat(114), "has 129 bytes, 128 are allowed"),
        ] {
            let text = method.name_at(instance).unwrap_err();
            assert!(text.contains(part), "{instance}: {text}");
        }
        assert_eq!(method.name_at(&"x".repeat(113)).unwrap().len(), MAX_NAME);
    }
}
