//! Names that Python can bear: identifiers that are no keywords, and that no two things have.

use std::collections::BTreeSet;

/// Names in use.
#[derive(Clone, Debug)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// The names that types may not have.
    pub(super) fn of_types() -> Self {
        let mut names = Self::of_methods();
        names.taken.extend(["Functions", "AsyncFunctions"].map(str::to_owned));
        names
    }

    /// The names that methods may not have. Inside of a class, a method would hide a type of its name.
    pub(super) fn of_methods() -> Self {
        let lists = [FROM_COLLECTIONS, FROM_TYPING, FROM_EASYREMOTE, BUILT_IN];
        Self { taken: lists.concat().into_iter().map(str::to_owned).collect() }
    }

    /// Takes exactly this name.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Takes a name, or one with a suffix.
    pub(super) fn take(&mut self, name: &str) -> String {
        self.take_or(name, "_")
    }

    /// Takes a name, or one with this suffix, or with that and a number.
    pub(super) fn take_or(&mut self, name: &str, suffix: &str) -> String {
        let mut tried = name.to_owned();
        let mut number = 1;
        while KEYWORDS.contains(&&*tried) || self.taken.contains(&tried) {
            tried = match number {
                1 => format!("{name}{suffix}"),
                n => format!("{name}{suffix}{n}"),
            };
            number += 1;
        }
        self.taken.insert(tried.clone());
        tried
    }

    /// Takes the name of the method for a function: `Model.embed` becomes `model_embed`.
    pub(super) fn method(&mut self, function: &str) -> String {
        let name = identifier(&snake(function));
        // Python changes names that begin with two, and the class has one with one.
        let name = name.trim_start_matches('_');
        let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.to_owned()
        } else {
            format!("f_{name}")
        };
        self.take(&name)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.taken.contains(name)
    }
}

/// Whether a text is a name that means nothing else to Python.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && identifier(name) == name && !KEYWORDS.contains(&name)
}

/// Returns a text with `_` in place of what an identifier may not have. Beyond ASCII, Python takes
/// different letters for the same.
pub(super) fn identifier(text: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = text.chars().map(fine).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        return format!("_{name}");
    }
    name
}

/// Returns a name in lower case, with `_` between words.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        before = c;
    }
    snake
}

/// Returns a name with a capital at the beginning of each word, and nothing between them.
pub(super) fn camel(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            format!("{}{rest}", first.to_ascii_uppercase())
        })
        .collect()
}

pub(super) const FROM_COLLECTIONS: &[&str] = &["AsyncIterable", "Iterable", "Mapping", "Sequence"];

pub(super) const FROM_TYPING: &[&str] = &[
    "Any",
    "Dict",
    "List",
    "Literal",
    "NoReturn",
    "Optional",
    "Tuple",
    "TypedDict",
    "Union",
    "cast",
];

pub(super) const FROM_EASYREMOTE: &[&str] = &["AsyncClient", "AsyncStream", "Client", "Stream"];

/// The built-in types that the stubs use.
pub(super) const BUILT_IN: &[&str] = &["bool", "float", "int", "str"];

/// `keyword.kwlist` of Python 3.14, which has those of all versions before.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_has_a_method_of_its_own() {
        let mut names = Names::of_methods();
        for (function, method) in [
            ("add", "add"),
            ("Model.embed", "model_embed"),
            ("model_embed", "model_embed_"),
            ("model.embed", "model_embed_2"),
            ("HTTPGet", "httpget"),
            ("lambda", "lambda_"),
            ("int", "int_"),
            ("_client", "client"),
            ("__init__", "init__"),
            ("2nd", "f_2nd"),
            ("été", "t_"),
            ("雪", "f_"),
            ("雨", "f__"),
            ("a-b c", "a_b_c"),
        ] {
            assert_eq!(names.method(function), method, "{function}");
        }
    }
}
