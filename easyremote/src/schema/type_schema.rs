//! The schema of a type, and its two texts: a canonical and a readable one.

use std::fmt::{self, Write};

/// The structure of a type, as its `Deserialize` requests it from a codec that is not
/// self-describing.
///
/// [`Display`](fmt::Display) writes the readable text, [`canonical`](Self::canonical) the one that
/// is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TypeSchema {
    /// `()`, which takes no bytes, and so does `[T; 0]`.
    Unit,
    /// `bool`.
    Bool,
    /// `u8`.
    U8,
    /// `u16`.
    U16,
    /// `u32`.
    U32,
    /// `u64`, and `usize`.
    U64,
    /// `u128`.
    U128,
    /// `i8`.
    I8,
    /// `i16`.
    I16,
    /// `i32`.
    I32,
    /// `i64`, and `isize`.
    I64,
    /// `i128`.
    I128,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// `char`.
    Char,
    /// Any string, owned or borrowed.
    Str,
    /// A byte buffer read as a whole; `Vec<u8>` is a [`TypeSchema::Seq`].
    Bytes,
    /// A value or nothing.
    Option(Box<TypeSchema>),
    /// Any number of values of one type.
    Seq(Box<TypeSchema>),
    /// A fixed number of values: a tuple, or an array of at most four.
    Tuple(Vec<TypeSchema>),
    /// More than four values of one type, and their number.
    Array(Box<TypeSchema>, usize),
    /// Any number of keys with their values.
    Map(Box<TypeSchema>, Box<TypeSchema>),
    /// A struct without fields: its name.
    UnitStruct(&'static str),
    /// A struct around one value: its name and the value.
    Newtype(&'static str, Box<TypeSchema>),
    /// A struct with numbered fields.
    TupleStruct(&'static str, Vec<TypeSchema>),
    /// A struct with named fields, in the order of the wire.
    Struct(&'static str, Vec<(&'static str, TypeSchema)>),
    /// A struct that requests its fields by name: its name, and the required fields. It may have
    /// others.
    Keyed(&'static str, Vec<(&'static str, TypeSchema)>),
    /// An enum with its variants, in the order of the wire.
    Enum(&'static str, Vec<(&'static str, VariantSchema)>),
    /// A type that was written out earlier in this schema, around this place (it is recursive) or
    /// before it: its name, and how many `Option`, `Seq`, .. `Enum` begin before it does.
    Again(&'static str, usize),
    /// Any value: the type needs a self-describing codec.
    Any,
    /// Not reached.
    Unknown,
}

/// The content of one variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VariantSchema {
    /// Nothing.
    Unit,
    /// One value.
    Newtype(TypeSchema),
    /// Numbered fields.
    Tuple(Vec<TypeSchema>),
    /// Named fields, in the order of the wire.
    Struct(Vec<(&'static str, TypeSchema)>),
    /// Not reached.
    Unknown,
}

impl TypeSchema {
    /// Returns the canonical text, which is equal for two schemas exactly if the schemas are equal.
    ///
    /// It is a part of the wire contract: fingerprints are hashes of it, so that a change of one
    /// character makes every function of an older build incompatible. It depends only on the
    /// structure, and not on addresses, module paths or the version of the compiler.
    ///
    /// | text                                   | schema                                   |
    /// |----------------------------------------|------------------------------------------|
    /// | `()` `bool` `u8` .. `f64` `char`       | as in Rust                               |
    /// | `str` `bytes` `any` `?`                | the latter is [`Self::Unknown`]          |
    /// | `option<S>` `seq<S>` `map<S,S>`        |                                          |
    /// | `(S,S)` `[S;9]`                        | [`Self::Tuple`], [`Self::Array`]         |
    /// | `struct"N"` `struct"N"=S`              | [`Self::UnitStruct`], [`Self::Newtype`]  |
    /// | `struct"N"(S,S)` `struct"N"{"f":S}`    | with numbered, with named fields         |
    /// | `keyed"N"{"f":S}`                      | [`Self::Keyed`]                          |
    /// | `enum"N"{"A","B"=S,"C"(S),"D"{"f":S}}` | `"E"?` is a variant that was not reached |
    /// | `#0`                                   | [`Self::Again`]; its name is left out    |
    ///
    /// Names are in double quotes, with `\` before each `"` and `\` in them.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(&mut text);
        text
    }

    /// Appends the canonical text.
    fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Str => out.push_str("str"),
            Self::Bytes => out.push_str("bytes"),
            Self::Option(inner) => {
                list(out, "option<", [inner], ">", |out, s| s.write_canonical(out))
            }
            Self::Seq(inner) => list(out, "seq<", [inner], ">", |out, s| s.write_canonical(out)),
            Self::Map(key, value) => {
                list(out, "map<", [key, value], ">", |out, s| s.write_canonical(out));
            }
            Self::Tuple(items) => canonical_items(out, items),
            Self::Array(inner, n) => {
                out.push('[');
                inner.write_canonical(out);
                out.push_str(&format!(";{n}]"));
            }
            Self::UnitStruct(name) => quoted(out, "struct", name),
            Self::Newtype(name, inner) => {
                quoted(out, "struct", name);
                out.push('=');
                inner.write_canonical(out);
            }
            Self::TupleStruct(name, items) => {
                quoted(out, "struct", name);
                canonical_items(out, items);
            }
            Self::Struct(name, fields) => {
                quoted(out, "struct", name);
                canonical_fields(out, fields);
            }
            Self::Keyed(name, fields) => {
                quoted(out, "keyed", name);
                canonical_fields(out, fields);
            }
            Self::Enum(name, variants) => {
                quoted(out, "enum", name);
                list(out, "{", variants, "}", |out, (name, variant)| {
                    quoted(out, "", name);
                    variant.write_canonical(out);
                });
            }
            Self::Again(_, nth) => out.push_str(&format!("#{nth}")),
            // Both texts of a leaf are the same.
            leaf => out.push_str(leaf.leaf_name()),
        }
    }

    /// Returns the readable text of a leaf.
    fn leaf_name(&self) -> &'static str {
        match self {
            Self::Unit => "()",
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::Str => "String",
            Self::Bytes => "Bytes",
            Self::Any => "any",
            _ => "?",
        }
    }
}

impl VariantSchema {
    /// Appends the canonical text of what follows the variant's name.
    fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Unit => {}
            Self::Newtype(inner) => {
                out.push('=');
                inner.write_canonical(out);
            }
            Self::Tuple(items) => canonical_items(out, items),
            Self::Struct(fields) => canonical_fields(out, fields),
            Self::Unknown => out.push('?'),
        }
    }
}

/// Writes the schema like Rust, in one line: `Config { sensors: u32, rate: f64 }`.
///
/// A type that was written out before is written as its name only.
impl fmt::Display for TypeSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(inner) => write!(f, "Option<{inner}>"),
            Self::Seq(inner) => write!(f, "Vec<{inner}>"),
            Self::Map(key, value) => write!(f, "Map<{key}, {value}>"),
            Self::Tuple(items) => match items.as_slice() {
                [only] => write!(f, "({only},)"),
                items => write_items(f, items),
            },
            Self::Array(inner, n) => write!(f, "[{inner}; {n}]"),
            Self::UnitStruct(name) | Self::Again(name, _) => f.write_str(name),
            Self::Newtype(name, inner) => write!(f, "{name}({inner})"),
            Self::TupleStruct(name, items) => {
                f.write_str(name)?;
                write_items(f, items)
            }
            Self::Struct(name, fields) => {
                f.write_str(name)?;
                write_fields(f, fields)
            }
            Self::Keyed(name, fields) => {
                write!(f, "{name}{}{{", if name.is_empty() { "" } else { " " })?;
                fields.iter().try_for_each(|(name, field)| write!(f, " {name}: {field},"))?;
                f.write_str(" .. }")
            }
            Self::Enum("Result", variants) => match variants.as_slice() {
                [("Ok", VariantSchema::Newtype(ok)), ("Err", VariantSchema::Newtype(err))] => {
                    write!(f, "Result<{ok}, {err}>")
                }
                variants => write_enum(f, "Result", variants),
            },
            Self::Enum(name, variants) => write_enum(f, name, variants),
            leaf => f.write_str(leaf.leaf_name()),
        }
    }
}

/// Writes what follows the variant's name.
impl fmt::Display for VariantSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => Ok(()),
            Self::Newtype(inner) => write!(f, "({inner})"),
            Self::Tuple(items) => write_items(f, items),
            Self::Struct(fields) => write_fields(f, fields),
            Self::Unknown => f.write_str("(?)"),
        }
    }
}

/// Appends `open`, each item by `write` with commas between them, and `close`.
fn list<T>(
    out: &mut String,
    open: &str,
    items: impl IntoIterator<Item = T>,
    close: &str,
    write: impl Fn(&mut String, T),
) {
    out.push_str(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push_str(close);
}

/// Appends numbered fields.
fn canonical_items(out: &mut String, items: &[TypeSchema]) {
    list(out, "(", items, ")", |out, item| item.write_canonical(out));
}

/// Appends named fields.
fn canonical_fields(out: &mut String, fields: &[(&'static str, TypeSchema)]) {
    list(out, "{", fields, "}", |out, (name, field)| {
        quoted(out, "", name);
        out.push(':');
        field.write_canonical(out);
    });
}

/// Appends `keyword` and the quoted `name`.
fn quoted(out: &mut String, keyword: &str, name: &str) {
    out.push_str(keyword);
    out.push('"');
    // Not `{:?}`: which characters it escapes depends on the Unicode tables of the standard
    // library.
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Writes `(a, b)`.
fn write_items(f: &mut fmt::Formatter<'_>, items: &[TypeSchema]) -> fmt::Result {
    f.write_char('(')?;
    for (i, item) in items.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    f.write_char(')')
}

/// Writes ` { a: u8, b: u8 }`.
fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[(&'static str, TypeSchema)]) -> fmt::Result {
    f.write_str(" {")?;
    for (i, (name, field)) in fields.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(f, "{comma} {name}: {field}")?;
    }
    f.write_str(if fields.is_empty() { "}" } else { " }" })
}

/// Writes `enum Op { Add, Sub(i64) }`.
fn write_enum(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    variants: &[(&'static str, VariantSchema)],
) -> fmt::Result {
    write!(f, "enum {name} {{")?;
    for (i, (name, variant)) in variants.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(f, "{comma} {name}{variant}")?;
    }
    f.write_str(if variants.is_empty() { "}" } else { " }" })
}
