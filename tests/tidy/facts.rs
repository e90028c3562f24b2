//! What the source of a crate says, as far as the rules ask.

use std::collections::{BTreeMap, BTreeSet};

use syn::{File, Item, Meta};

use crate::modules::{FileId, ModuleId, Modules};
use crate::reader;

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: FileId,
    pub(crate) line: usize,
}

pub(crate) struct FileFacts {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Compiled for tests only.
    pub(crate) test: bool,
}

pub(crate) struct TypeFacts {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// What tells alternatives for different platforms from two types.
    pub(crate) alternative: Option<ModuleId>,
}

pub(crate) struct FunctionFacts {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) lines: usize,
}

/// A path to somewhere else: an import, or a path in an expression, a type or a macro.
pub(crate) struct Reference {
    pub(crate) place: Place,
    pub(crate) test: bool,
    /// A `pub use`: it passes on, and uses nothing itself.
    pub(crate) reexport: bool,
    /// From the root of the crate, if it is written with `crate`, `self` or `super`.
    pub(crate) absolute: Option<Vec<String>>,
    /// The other crate that stands in front of it, if any.
    pub(crate) external: Option<String>,
    /// The other crate that it comes from, imports followed, if it is in a public signature.
    pub(crate) exposes: Option<String>,
    /// The files that define what it stands for.
    pub(crate) files: Vec<FileId>,
    /// It leads to no item.
    pub(crate) missing: bool,
    pub(crate) written: String,
}

/// A crate, read once.
pub(crate) struct Facts {
    pub(crate) files: Vec<FileFacts>,
    /// The files of the modules directly in the root of the crate.
    pub(crate) top: BTreeMap<String, FileId>,
    /// The macros of the root, which nothing can name but through the root.
    pub(crate) exported: BTreeSet<String>,
    pub(crate) types: Vec<TypeFacts>,
    pub(crate) functions: Vec<FunctionFacts>,
    pub(crate) references: Vec<Reference>,
    pub(crate) macros: Vec<(String, Place)>,
    pub(crate) early_data: Vec<Place>,
    /// The crate forbids unsafe code.
    pub(crate) safe: bool,
}

impl Facts {
    /// Reads the crate whose root is the file `root`, from texts by path.
    pub(crate) fn read(root: &str, texts: &BTreeMap<String, String>) -> Self {
        let modules = Modules::load(root, texts);
        let files = modules.files.iter().map(|file| FileFacts {
            path: file.path.clone(),
            text: file.text.clone(),
            test: modules.module(file.module).test,
        });
        let mut facts = Self {
            files: files.collect(),
            top: top(&modules),
            exported: exported(&modules.files[0].syntax),
            types: Vec::new(),
            functions: Vec::new(),
            references: Vec::new(),
            macros: Vec::new(),
            early_data: Vec::new(),
            safe: forbids_unsafe_code(&modules.files[0].syntax),
        };
        reader::read(&modules, &mut facts);
        facts
    }

    pub(crate) fn show(&self, place: &Place) -> String {
        format!("{}:{}", self.files[place.file].path, place.line)
    }
}

fn top(modules: &Modules) -> BTreeMap<String, FileId> {
    let items = modules.files[0].syntax.items.iter();
    let names = items.filter_map(|item| match item {
        Item::Mod(item) => Some(item.ident.to_string()),
        _ => None,
    });
    names
        .map(|name| {
            let module = modules.child(0, &name).expect("every module is entered");
            (name, modules.module(module).file)
        })
        .collect()
}

fn exported(root: &File) -> BTreeSet<String> {
    let names = root.items.iter().filter_map(|item| match item {
        Item::Macro(item) => Some(item.ident.as_ref()?.to_string()),
        _ => None,
    });
    names.collect()
}

fn forbids_unsafe_code(file: &File) -> bool {
    file.attrs.iter().any(|attr| match &attr.meta {
        Meta::List(list) => {
            list.path.is_ident("forbid") && list.tokens.to_string().contains("unsafe_code")
        }
        _ => false,
    })
}
