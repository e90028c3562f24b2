//! The shape of the source: names, lengths, layers, circles, and what must not be there.
//!
//! The source is parsed, not searched: documentation, text and tests are told from code.

mod checks;
mod circles;
mod facts;
mod manifests;
mod modules;
mod reader;
mod rules;
mod secrets;
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use facts::Facts;

/// From the bottom up: each layer may use itself and those before it. Layers in one group do not
/// know each other, but for the last, which is what users see.
const LAYERS: &[&[&str]] = &[
    &["error", "gauge"],
    &["call", "schema", "decode"],
    &["wire"],
    &["transport"],
    &["function"],
    &["exposition"],
    &["client", "node", "gateway"],
    &["mcp"],
    &["attach", "http", "testing"],
    &["auth", "fuzz", "lib", "private", "shutdown_signal", "stream"],
];

/// The longest file, with its tests.
const MAX_FILE: usize = 600;

/// The longest function, with the closures and functions in it.
const MAX_FUNCTION: usize = 60;

/// Which modules alone name another crate.
const NAMED_BY: &[(&str, &[&str])] = &[
    ("rmcp", &["mcp"]),
    ("rustls", &["transport"]),
    // Both ends of the control stream hold connections.
    ("quinn", &["transport", "gateway", "node", "fuzz"]),
    ("quinn_proto", &["transport"]),
    ("bincode", &["wire::codec"]),
    ("rmp_serde", &["wire::value"]),
    ("opentelemetry", &["transport::call_span"]),
    ("tracing_opentelemetry", &["transport::call_span"]),
];

/// What no public signature names: it may be of another version tomorrow.
const HIDDEN: &[&str] = &["quinn", "quinn_proto", "rustls"];

/// The root files of the crates: the library, its macros, and the command-line tool.
const ROOTS: [&str; 3] = [
    "easyremote/src/lib.rs",
    "easyremote-macros/src/lib.rs",
    "easyremote/src/bin/easyremote/main.rs",
];

/// The crates, in the order of their [`ROOTS`].
fn crates() -> &'static [Facts; 3] {
    static CRATES: OnceLock<[Facts; 3]> = OnceLock::new();
    CRATES.get_or_init(|| {
        ROOTS.map(|root| {
            let (directory, _) = root.rsplit_once('/').unwrap();
            let mut texts = BTreeMap::new();
            add_sources(directory, &mut texts);
            // A binary in the folder of a library is a crate of its own.
            let of_binary = |path: &str| path.contains("/src/bin/");
            texts.retain(|path, _| of_binary(path) == of_binary(root));
            assert!(texts.len() > 10, "the sources of {root} have moved");
            Facts::read(root, &texts)
        })
    })
}

fn library() -> &'static Facts {
    &crates()[0]
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn add_sources(directory: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            add_sources(&path, found);
        } else if path.ends_with(".rs") {
            found.insert(path.clone(), read(&path));
        }
    }
}

/// Fails with all violations of a rule.
fn none(rule: &str, violations: impl IntoIterator<Item = String>) {
    let violations: Vec<_> = violations.into_iter().collect();
    assert!(violations.is_empty(), "{rule}\n  {}\n", violations.join("\n  "));
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let found = crates().iter().flat_map(rules::types_defined_twice);
    none("a type name stands for one type of a crate:", found);
}

#[test]
fn files_are_about_one_thing() {
    let found = crates().iter().flat_map(|facts| rules::long_files(facts, MAX_FILE));
    none(&format!("a file has at most {MAX_FILE} lines:"), found);
}

#[test]
fn functions_do_one_thing() {
    let found = crates().iter().flat_map(|facts| rules::long_functions(facts, MAX_FUNCTION));
    none(&format!("a function has at most {MAX_FUNCTION} lines:"), found);
}

#[test]
fn no_error_shows_its_source() {
    let found = crates().iter().flat_map(rules::repeated_sources);
    none("the text of an error does not repeat its source:", found);
}

#[test]
fn layers_import_downwards_only() {
    none("imports lead to lower layers only:", rules::upward_imports(library(), LAYERS));
}

#[test]
fn no_more_than_two_files_import_each_other() {
    none("files import each other in circles:", crates().iter().flat_map(circles::between_files));
}

#[test]
fn rooms_do_not_import_each_other() {
    none("rooms import each other in circles:", crates().iter().flat_map(circles::between_rooms));
}

/// The two rules before this one see nothing of a path whose end is not found.
#[test]
fn every_path_leads_somewhere() {
    none("paths lead to no item:", crates().iter().flat_map(rules::unresolved));
}

#[test]
fn only_the_transport_knows_rustls_and_only_the_codec_bincode() {
    for (name, places) in NAMED_BY {
        let rule = format!("only {} may name `{name}`:", places.join(", "));
        none(&rule, rules::names_outside(library(), name, places));
    }
}

/// What comes with 0-RTT data can be replayed by anyone who saw it.
#[test]
fn nothing_sends_or_takes_early_data() {
    none("0-RTT is named:", rules::early_data(library()));
}

#[test]
fn secrets_are_compared_in_constant_time_and_not_shown() {
    let files = library().files.iter().filter(|file| !file.test);
    let checked: Vec<_> = files
        .filter_map(|file| {
            Some((file, secrets::violations(&syn::parse_file(&file.text).unwrap())?))
        })
        .collect();
    assert_eq!(checked.len(), 1, "there is one type `Secret`");
    let (file, found) = &checked[0];
    none(&format!("`Secret` in {}:", file.path), found.clone());
}

#[test]
fn no_public_signature_names_quinn_or_rustls() {
    none("public signatures name hidden crates:", rules::exposed(library(), HIDDEN));
}

#[test]
fn nothing_is_left_for_later() {
    none("left for later:", crates().iter().flat_map(rules::unfinished));
}

#[test]
fn unsafe_code_is_forbidden() {
    let unsafe_crates = crates().iter().filter(|facts| !facts.safe);
    none(
        "`#![forbid(unsafe_code)]` is missing:",
        unsafe_crates.map(|facts| facts.files[0].path.clone()),
    );
}

#[test]
fn every_dependency_has_a_reason() {
    let paths = ["Cargo.toml", "easyremote/Cargo.toml", "easyremote-macros/Cargo.toml"];
    let found = paths.iter().flat_map(|path| manifests::unexplained(path, &read(path)));
    none("the line above a dependency says what it is for:", found);
}
