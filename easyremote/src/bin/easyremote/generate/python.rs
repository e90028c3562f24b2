//! Typed stubs for Python: a class with a method for each function, for threads and for asyncio.
//!
//! What is written runs under Python 3.9 and later, beside `easyremote.py`, and passes
//! `mypy --strict`. The same functions lead to the same text.

mod methods;
mod names;
mod schema_types;
mod text;

use easyremote::client::FunctionInfo;

use self::methods::{Flavour, Method};
use self::schema_types::SchemaTypes;

/// Returns the stubs of these functions, which are sorted by name.
pub(super) fn stubs(functions: &[FunctionInfo], finite: bool) -> String {
    let mut types = SchemaTypes::new(finite);
    // Arguments first: their types keep their names.
    let mut methods: Vec<_> =
        functions.iter().filter_map(|function| Method::new(function, &mut types)).collect();
    for method in &mut methods {
        method.add_results(&mut types);
    }
    let mut names = types.names().clone();
    for method in &mut methods {
        method.name = names.method(method.function());
        method.name_parameters(types.names());
    }
    let mut body = types.declarations();
    for flavour in [Flavour::Threads, Flavour::Asyncio] {
        body.push_str(&class(&methods, flavour));
    }
    format!("{HEAD}\n{}\n{body}", imports(&body))
}

/// Returns the class with all methods.
fn class(methods: &[Method<'_>], flavour: Flavour) -> String {
    let (name, client) = (flavour.class(), flavour.client());
    let mut class = format!(
        "\n\nclass {name}:\n    \"\"\"The functions of a gateway{}.\"\"\"\n\n    \
         def __init__(self, client: {client}) -> None:\n        self._client = client\n",
        flavour.remark(),
    );
    for method in methods {
        class.push('\n');
        class.push_str(&method.definition(flavour));
    }
    class
}

/// Returns the imports that a text needs.
fn imports(body: &str) -> String {
    let uses = |name: &&&str| {
        body.match_indices(**name).any(|(at, found)| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let before = body[..at].chars().next_back().is_some_and(is_name);
            let after = body[at + found.len()..].chars().next().is_some_and(is_name);
            !before && !after
        })
    };
    let mut text = String::new();
    for (module, list) in [
        ("collections.abc", names::FROM_COLLECTIONS),
        ("typing", names::FROM_TYPING),
        ("easyremote", names::FROM_EASYREMOTE),
    ] {
        let list: Vec<_> = list.iter().filter(uses).copied().collect();
        if !list.is_empty() {
            let gap = if module == "easyremote" { "\n" } else { "" };
            text.push_str(&format!("{gap}from {module} import {}\n", list.join(", ")));
        }
    }
    text.trim_end().to_owned()
}

const HEAD: &str = r#""""Typed stubs of easyremote functions.

Written by `easyremote gen python` from the schemas of the functions; do not edit.

    from easyremote import Client
    functions = Functions(Client(url, bearer))

Options of calls belong to the client: `Functions(client.with_options(timeout=5))`. A tuple in a
result is a list when the program runs.
"""

from __future__ import annotations
"#;

#[cfg(test)]
mod tests;
