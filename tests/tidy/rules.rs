//! The rules about single files, types, functions and paths. Each returns its violations.

use std::collections::BTreeMap;

use crate::circles::parts;
use crate::facts::{Facts, Reference};

/// Types whose name another type of the crate has too.
pub(crate) fn types_defined_twice(facts: &Facts) -> Vec<String> {
    let mut types = BTreeMap::<&str, Vec<_>>::new();
    for defined in &facts.types {
        let same = types.entry(&defined.name).or_default();
        // One for each platform.
        let alternative = |other: &&crate::facts::TypeFacts| {
            defined.alternative.is_some() && other.alternative == defined.alternative
        };
        if !same.iter().any(alternative) {
            same.push(defined);
        }
    }
    types.retain(|_, same| same.len() > 1);
    let shown = types.into_iter().map(|(name, same)| {
        let places: Vec<_> = same.iter().map(|defined| facts.show(&defined.place)).collect();
        format!("`{name}`: {}", places.join(", "))
    });
    shown.collect()
}

/// Files of more than `max` lines, with their tests.
pub(crate) fn long_files(facts: &Facts, max: usize) -> Vec<String> {
    let lengths = facts.files.iter().map(|file| (&file.path, file.text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > max);
    long.map(|(path, lines)| format!("{path}: {lines} lines")).collect()
}

/// Functions of more than `max` lines, without documentation and attributes.
pub(crate) fn long_functions(facts: &Facts, max: usize) -> Vec<String> {
    let long = facts.functions.iter().filter(|function| function.lines > max);
    let shown = long.map(|function| {
        let place = facts.show(&function.place);
        format!("{place}: `{}` has {} lines", function.name, function.lines)
    });
    shown.collect()
}

/// Imports that do not lead downwards, and modules in no layer.
///
/// The top layer is what users see: its modules know each other. Tests may use its macros.
pub(crate) fn upward_imports(facts: &Facts, layers: &[&[&str]]) -> Vec<String> {
    let level = |name: &str| layers.iter().position(|group| group.contains(&name));
    let layer = |file: usize| parts(&facts.files[file].path)[0];
    let mut found = Vec::new();
    for file in 0..facts.files.len() {
        if level(layer(file)).is_none() && !found.contains(&layer(file).to_owned()) {
            found.push(layer(file).to_owned());
        }
    }
    let mut found: Vec<_> = found.iter().map(|name| format!("`{name}` is in no layer")).collect();
    for reference in &facts.references {
        let Some(top) = reference.absolute.as_ref().and_then(|path| path.first()) else { continue };
        if reference.test && facts.exported.contains(top) {
            continue;
        }
        let own = layer(reference.place.file);
        // An item of the root is not below anything.
        let imported = facts.top.get(top).map_or("lib", |file| layer(*file));
        let (Some(own_level), Some(level)) = (level(own), level(imported)) else { continue };
        if own != imported && level >= own_level && own_level + 1 < layers.len() {
            let place = facts.show(&reference.place);
            found.push(format!("{place}: `{own}` uses `{}` of `{imported}`", reference.written));
        }
    }
    found
}

/// Names of the crate `name` outside of `places`, which are modules or files.
pub(crate) fn names_outside(facts: &Facts, name: &str, places: &[&str]) -> Vec<String> {
    let outside = |reference: &&Reference| {
        let parts = parts(&facts.files[reference.place.file].path).join("::");
        let inside = |place: &&str| parts == **place || parts.starts_with(&format!("{place}::"));
        !reference.test && !places.iter().any(inside)
    };
    let named = facts.references.iter().filter(|other| other.external.as_deref() == Some(name));
    named.filter(outside).map(|reference| show(facts, reference)).collect()
}

/// Public signatures that name one of the crates `hidden`.
pub(crate) fn exposed(facts: &Facts, hidden: &[&str]) -> Vec<String> {
    let exposing = facts.references.iter().filter(|reference| {
        reference.exposes.as_deref().is_some_and(|name| hidden.contains(&name))
    });
    exposing.filter(|reference| !reference.test).map(|reference| show(facts, reference)).collect()
}

/// Paths that lead to no item, tests excepted. Rules that ask where paths lead would not see them.
pub(crate) fn unresolved(facts: &Facts) -> Vec<String> {
    let missing = facts.references.iter().filter(|reference| reference.missing && !reference.test);
    missing.map(|reference| show(facts, reference)).collect()
}

/// Ways to send or to take 0-RTT data.
pub(crate) fn early_data(facts: &Facts) -> Vec<String> {
    facts.early_data.iter().map(|place| facts.show(place)).collect()
}

/// What is left for later.
pub(crate) fn unfinished(facts: &Facts) -> Vec<String> {
    // In two pieces, so that this file has none of them.
    let marks = [["TO", "DO"], ["XX", "X"]].map(|mark| mark.concat());
    let mut found = Vec::new();
    for file in &facts.files {
        for (line, text) in file.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| text.contains(*mark)) {
                found.push(format!("{}:{}: {mark}", file.path, line + 1));
            }
        }
    }
    let macros =
        facts.macros.iter().filter(|(name, _)| ["todo", "unimplemented"].contains(&name.as_str()));
    found.extend(macros.map(|(name, place)| format!("{}: {name}!", facts.show(place))));
    found
}

/// Errors whose text shows what is their source as well: whoever shows a chain would show it twice.
pub(crate) fn repeated_sources(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for file in &facts.files {
        let lines: Vec<&str> = file.text.lines().collect();
        for (line, text) in lines.iter().enumerate() {
            let Some((_, given)) = text.split_once(".with_source(") else { continue };
            let source: String =
                given.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // From the function, or the closure, that makes the error.
            let begins = |text: &str| {
                let head = text.split('(').next().unwrap_or_default();
                head.split_whitespace().any(|word| word == "fn")
                    || text.contains(&format!("|{source}|"))
                    || text.contains(&format!("|{source}:"))
            };
            let first = (0..=line).rev().find(|at| begins(lines[*at])).unwrap_or(0);
            let shows = |text: &&str| {
                [format!("{{{source}}}"), format!("{{{source}:")].iter().any(|it| text.contains(it))
            };
            if lines[first..=line].iter().any(shows) {
                found.push(format!("{}:{}: `{source}`", file.path, line + 1));
            }
        }
    }
    found
}

fn show(facts: &Facts, reference: &Reference) -> String {
    format!("{}: `{}`", facts.show(&reference.place), reference.written)
}
