//! Finds where two signatures differ, from their texts.
//!
//! A node is known by the text of its signature only. The text is read back into [`Shape`]s; one that
//! cannot be read, because a type has an odd name or the text was cut, has no known differences.

use std::fmt::{self, Write};

/// Most differences in one error.
const MAX_SHOWN: usize = 6;

/// Deepest nesting of types that is compared.
const MAX_DEPTH: usize = 64;

/// Returns where the two signatures differ, in one line; `None` if that cannot be told.
pub(super) fn difference(caller: &str, node: &str) -> Option<String> {
    let (caller, node) = (SignatureShape::read(caller)?, SignatureShape::read(node)?);
    let mut found = Differences::default();
    found.parts("", &caller.parameters, &node.parameters);
    found.types("the result", &caller.result, &node.result);
    match found.0.as_slice() {
        [] => None,
        all => {
            let more = all.len().saturating_sub(MAX_SHOWN);
            let mut text = all[..all.len() - more].join(", ");
            if more > 0 {
                // Writing to a string cannot fail.
                let _ = write!(text, ", and {more} more");
            }
            Some(text)
        }
    }
}

/// A signature.
#[derive(Debug)]
struct SignatureShape<'a> {
    parameters: Vec<(&'a str, Shape<'a>)>,
    result: Shape<'a>,
}

/// A type as its text shows it.
#[derive(Clone, Debug, PartialEq)]
enum Shape<'a> {
    /// A type without parts, or one that was written out before.
    Leaf(&'a str),
    /// `Vec<T>`, `Option<T>`, `[T; 3]` and so on: what is in front of the parts, and the parts.
    Generic(&'a str, Vec<Shape<'a>>),
    /// A tuple, or a struct with numbered fields.
    Tuple(&'a str, Vec<Shape<'a>>),
    /// A struct.
    Struct(&'a str, Vec<(&'a str, Shape<'a>)>),
    /// An enum, with the content of its variants.
    Enum(&'a str, Vec<(&'a str, Shape<'a>)>),
}

impl<'a> SignatureShape<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut reader = ShapeReader { rest: text, depth: 0 };
        reader.eat("(")?;
        let mut parameters = Vec::new();
        while reader.eat(")").is_none() {
            let mut ahead = reader;
            let name = ahead.name();
            match name.filter(|_| ahead.eat(": ").is_some()) {
                Some(name) => {
                    reader = ahead;
                    parameters.push((name, reader.shape()?));
                }
                // The stream of the caller, or the item of an operator.
                None => parameters.push(("the stream", reader.shape()?)),
            }
            let _ = reader.eat(", ");
        }
        reader.eat(" -> ")?;
        let result = reader.shape()?;
        reader.rest.is_empty().then_some(Self { parameters, result })
    }
}

/// Reads shapes from the front of a text.
#[derive(Clone, Copy, Debug)]
struct ShapeReader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> ShapeReader<'a> {
    fn eat(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Reads a name, which may be empty where a type has none.
    fn name(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && !"_#-".contains(c));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn shape(&mut self) -> Option<Shape<'a>> {
        self.depth = self.depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
        let shape = self.shape_inside();
        self.depth -= 1;
        shape
    }

    fn shape_inside(&mut self) -> Option<Shape<'a>> {
        if self.eat("impl Stream<Item = ").is_some() {
            let item = self.shape()?;
            self.eat(">")?;
            return Some(Shape::Generic("impl Stream", vec![item]));
        }
        if self.eat("enum ").is_some() {
            let name = self.name().unwrap_or_default();
            self.eat(" {")?;
            return Some(Shape::Enum(name, self.variants()?));
        }
        if self.eat("[").is_some() {
            let element = self.shape()?;
            self.eat("; ")?;
            let n = self.name()?;
            self.eat("]")?;
            return Some(Shape::Generic(n, vec![element]));
        }
        if self.eat("()").is_some() {
            return Some(Shape::Leaf("()"));
        }
        if self.eat("?").is_some() {
            return Some(Shape::Leaf("?"));
        }
        let name = self.name().unwrap_or_default();
        let shape = self.content(name)?;
        match shape {
            None if name.is_empty() => None,
            None => Some(Shape::Leaf(name)),
            shape => shape,
        }
    }

    /// Reads what follows a name, if it has parts.
    fn content(&mut self, name: &'a str) -> Option<Option<Shape<'a>>> {
        if self.eat("<").is_some() {
            return Some(Some(Shape::Generic(name, self.list(">")?)));
        }
        if self.eat("(").is_some() {
            return Some(Some(Shape::Tuple(name, self.list(")")?)));
        }
        if self.eat(" {").is_some() || self.eat("{").is_some() {
            return Some(Some(Shape::Struct(name, self.fields()?)));
        }
        Some(None)
    }

    fn list(&mut self, close: &str) -> Option<Vec<Shape<'a>>> {
        let mut parts = Vec::new();
        while self.eat(close).is_none() {
            parts.push(self.shape()?);
            if self.eat(", ").is_none() {
                // A tuple of one part.
                let _ = self.eat(",");
            }
        }
        Some(parts)
    }

    fn fields(&mut self) -> Option<Vec<(&'a str, Shape<'a>)>> {
        let mut fields = Vec::new();
        loop {
            let _ = self.eat(" ");
            if self.eat("}").is_some() || self.eat(".. }").is_some() {
                return Some(fields);
            }
            let name = self.name()?;
            self.eat(": ")?;
            fields.push((name, self.shape()?));
            let _ = self.eat(",");
        }
    }

    fn variants(&mut self) -> Option<Vec<(&'a str, Shape<'a>)>> {
        let mut variants = Vec::new();
        loop {
            let _ = self.eat(" ");
            if self.eat("}").is_some() {
                return Some(variants);
            }
            let name = self.name()?;
            let content = self.content("")?.unwrap_or(Shape::Leaf(""));
            variants.push((name, content));
            let _ = self.eat(",");
        }
    }
}

/// Writes the name of a type, without what is in it.
impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf("") => f.write_str("a variant without content"),
            Self::Leaf(name) => f.write_str(name),
            Self::Generic(name, parts) if name.starts_with(|c: char| c.is_ascii_digit()) => {
                write!(f, "[{}; {name}]", parts[0])
            }
            Self::Generic(name, parts) => {
                write!(f, "{name}<")?;
                for (index, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(">")
            }
            Self::Tuple("", parts) => write!(f, "a tuple of {}", parts.len()),
            Self::Struct("", _) => f.write_str("a struct"),
            Self::Tuple(name, _) | Self::Struct(name, _) => f.write_str(name),
            Self::Enum(name, _) => write!(f, "enum {name}"),
        }
    }
}

/// What differs, each with its place.
#[derive(Debug, Default)]
struct Differences(Vec<String>);

impl Differences {
    /// Compares two types at the same place.
    fn types(&mut self, at: &str, caller: &Shape<'_>, node: &Shape<'_>) {
        let within = |part: &str| format!("{at}{part}");
        match (caller, node) {
            _ if caller == node => {}
            (Shape::Struct(one, fields), Shape::Struct(other, others)) if one == other => {
                self.parts(at, fields, others);
            }
            (Shape::Enum(one, variants), Shape::Enum(other, others)) if one == other => {
                self.parts(at, variants, others);
            }
            (Shape::Tuple(one, parts), Shape::Tuple(other, others))
                if one == other && parts.len() == others.len() =>
            {
                for (index, (part, other)) in parts.iter().zip(others).enumerate() {
                    self.types(&within(&format!(".{index}")), part, other);
                }
            }
            (Shape::Generic(one, parts), Shape::Generic(other, others))
                if one == other && parts.len() == others.len() =>
            {
                let nested = parts.iter().zip(others).enumerate();
                for (index, (part, other)) in nested {
                    let step = match (*one, index) {
                        ("Option", _) => String::new(),
                        ("Result", 0) => " (`Ok`)".to_owned(),
                        ("Result", _) => " (`Err`)".to_owned(),
                        ("Map", 0) => "[key]".to_owned(),
                        ("impl Stream", _) => " (its items)".to_owned(),
                        _ => "[]".to_owned(),
                    };
                    self.types(&within(&step), part, other);
                }
            }
            _ => self.0.push(format!("{} (`{caller}` here, `{node}` there)", quoted(at))),
        }
    }

    /// Compares the fields of two structs, the variants of two enums, or the parameters.
    fn parts(&mut self, at: &str, caller: &[(&str, Shape<'_>)], node: &[(&str, Shape<'_>)]) {
        let there = |name: &str, all: &[(&str, Shape<'_>)]| all.iter().any(|(it, _)| *it == name);
        let path = |name: &str| match at {
            "" => name.to_owned(),
            at => format!("{at}.{name}"),
        };
        let (mut removed, mut added): (Vec<_>, Vec<_>) = (
            caller.iter().filter(|(name, _)| !there(name, node)).collect(),
            node.iter().filter(|(name, _)| !there(name, caller)).collect(),
        );
        // One that has gone and one that has come, of the same type at the same place.
        removed.retain(|(name, shape)| {
            let index = caller.iter().position(|(it, _)| it == name);
            let other = index.and_then(|index| node.get(index));
            let Some((new, _)) = other.filter(|(it, of)| !there(it, caller) && of == shape) else {
                return true;
            };
            added.retain(|(it, _)| it != new);
            self.0.push(format!("{} (called `{new}` there)", quoted(&path(name))));
            false
        });
        let gone = removed.iter().map(|(name, _)| format!("{} (only here)", quoted(&path(name))));
        self.0.extend(gone);
        let new = added.iter().map(|(name, _)| format!("{} (only there)", quoted(&path(name))));
        self.0.extend(new);
        for (name, shape) in caller {
            if let Some((_, other)) = node.iter().find(|(it, _)| it == name) {
                self.types(&path(name), shape, other);
            }
        }
        let common = |all: &[(&str, Shape<'_>)], others: &[(&str, Shape<'_>)]| -> Vec<String> {
            all.iter().filter(|(it, _)| there(it, others)).map(|(it, _)| (*it).to_owned()).collect()
        };
        let (here, other) = (common(caller, node), common(node, caller));
        if here != other {
            let what = if at.is_empty() { "the arguments".to_owned() } else { quoted(at) };
            let (here, other) = (here.join(", "), other.join(", "));
            self.0.push(format!("{what} (in the order {here} here, {other} there)"));
        }
    }
}

/// Quotes a path, unless it is words.
fn quoted(at: &str) -> String {
    if at.starts_with("the ") { at.to_owned() } else { format!("`{at}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_is_named_with_its_place() {
        for (caller, node, expected) in [
            ("(a: u8) -> u8", "(a: u16) -> u8", "`a` (`u8` here, `u16` there)"),
            ("(a: u8) -> u8", "(a: u8, b: u8) -> u8", "`b` (only there)"),
            ("(a: u8, b: u8) -> u8", "(a: u8) -> u8", "`b` (only here)"),
            ("(a: u8) -> u8", "(b: u8) -> u8", "`a` (called `b` there)"),
            (
                "(a: u8, b: u8) -> ()",
                "(b: u8, a: u8) -> ()",
                "the arguments (in the order a, b here, b, a there)",
            ),
            (
                "(o: Order { id: u8 }) -> Vec<Order { id: u8 }>",
                "(o: Order { id: u8, note: Option<String> }) -> Vec<Order { id: u8 }>",
                "`o.note` (only there)",
            ),
            (
                "() -> Vec<Map<String, Order { id: u8, more: (u8, [i64; 9]) }>>",
                "() -> Vec<Map<String, Order { id: u8, more: (u8, [i32; 9]) }>>",
                "the result[][].more.1[] (`i64` here, `i32` there)",
            ),
            (
                "(o: enum Op { Add, Sub(i64) }) -> ()",
                "(o: enum Op { Add, Sub { by: i64 }, Mul(u8, u8) }) -> ()",
                "`o.Mul` (only there), `o.Sub` (`a tuple of 1` here, `a struct` there)",
            ),
            (
                "() -> Result<u8, E { a: u8 }>",
                "() -> Result<u8, E { a: i8 }>",
                "the result (`Err`).a (`u8` here, `i8` there)",
            ),
            (
                "(impl Stream<Item = u8>) -> ()",
                "(impl Stream<Item = i8>) -> ()",
                "the stream (its items) (`u8` here, `i8` there)",
            ),
            (
                "() -> Keyed { a: u8, .. }",
                "() -> Keyed { a: u16, .. }",
                "the result.a (`u8` here, `u16` there)",
            ),
            ("() -> One { a: u8 }", "() -> Two { a: u8 }", "the result (`One` here, `Two` there)"),
        ] {
            assert_eq!(difference(caller, node).as_deref(), Some(expected), "{caller} {node}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_no_difference() {
        let deep = format!("({}u8", "a: Vec<".repeat(500));
        for text in
            ["", "(", "(a: u8) -> u", "(a: ) -> u8", "(a: u8 -> u8", "(a: `x`) -> ..", &deep]
        {
            let _ = difference(text, "(a: u8) -> u8");
            let _ = difference("(a: u8) -> u8", text);
        }
        assert_eq!(difference("() -> u8", "() -> u8"), None);
        let many: Vec<_> = (0..40).map(|n| format!("f{n}: u8")).collect();
        let text = difference(&format!("({}) -> u8", many.join(", ")), "() -> u8").unwrap();
        assert!(text.ends_with("`f5` (only here), and 34 more"), "{text}");
    }
}
