//! The shape of the source: layers, lengths, and what must not be there.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up: each layer may use itself and those before it. Layers in one group do not
/// know each other.
const LAYERS: &[&[&str]] = &[
    &["error", "gauge"],
    &["schema", "decode"],
    &["wire"],
    &["transport"],
    &["function"],
    &["gateway", "node", "client"],
    &["testing"],
    &["fuzz", "lib", "private"],
];

/// The longest file, with its tests.
const MAX_LINES: usize = 400;

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn library() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for crate_root in ["easyremote/src", "easyremote-macros/src"] {
        sources(&root.join(crate_root), &mut found);
    }
    assert!(found.len() > 40, "the sources have moved");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn level(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&layer))
}

#[test]
fn layers_import_downwards_only() {
    for (path, text) in library() {
        let Some((_, inside)) = path.to_str().unwrap().split_once("easyremote/src/") else {
            continue;
        };
        let own = inside.split(['/', '.']).next().unwrap();
        let own_level = level(own).unwrap_or_else(|| panic!("`{own}` is in no layer"));
        for imported in text.split("crate::").skip(1) {
            let name: String =
                imported.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // Items of the crate root, in links of documentation, are in no layer.
            let Some(imported_level) = level(&name) else { continue };
            let fine = name == own || imported_level < own_level;
            assert!(fine, "{inside} (layer `{own}`) uses `{name}`");
        }
    }
}

#[test]
fn only_the_transport_knows_rustls_and_only_the_codec_bincode() {
    for (path, text) in library() {
        let path = path.to_str().unwrap();
        if !path.contains("/transport/") {
            assert!(!text.contains("rustls::"), "{path} names rustls");
        }
        if !path.ends_with("wire/codec.rs") && !path.ends_with("tests.rs") {
            assert!(!text.contains("bincode::"), "{path} names bincode");
        }
    }
}

/// What comes with 0-RTT data can be replayed by anyone who saw it.
#[test]
fn nothing_sends_or_takes_early_data() {
    for (path, text) in library() {
        assert!(!text.contains("into_0rtt"), "{} names 0-RTT", path.display());
    }
}

#[test]
fn secrets_are_compared_in_constant_time_and_not_shown() {
    let path = "easyremote/src/transport/auth/credentials.rs";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    assert!(text.contains("hmac::verify(") && text.contains("self.0.ct_eq(&other.0)"));
    assert!(text.contains("#[derive(Clone)]\npub(crate) struct Secret"));
}

#[test]
fn no_public_signature_names_quinn() {
    for (path, text) in library() {
        let named = text.lines().find(|line| {
            let line = line.trim_start();
            line.starts_with("pub fn") && (line.contains("quinn::") || line.contains("rustls::"))
        });
        assert_eq!(named, None, "{}", path.display());
    }
}

#[test]
fn files_are_about_one_thing() {
    for (path, text) in library() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    // In two pieces, so that this file is not one of them.
    let marks = [["todo", "!("], ["TODO", ""], ["unimplemented", "!("], ["XX", "X"]];
    for (path, text) in library() {
        for mark in marks.map(|mark| mark.concat()) {
            assert!(!text.contains(&mark), "{} has `{mark}`", path.display());
        }
    }
}
