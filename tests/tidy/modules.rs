//! The module tree of a crate, and what a path in it stands for.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use proc_macro2::Span;
use syn::{Attribute, File, Item, ItemMacro, ItemMod, ItemUse, Meta, UseTree, Visibility};

use crate::tokens;

pub(crate) type FileId = usize;
pub(crate) type ModuleId = usize;

pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: Rc<File>,
    pub(crate) module: ModuleId,
}

/// A module that is a file, or an inline one.
pub(crate) struct Module {
    /// From the root of the crate, which has an empty path.
    path: Vec<String>,
    parent: Option<ModuleId>,
    pub(crate) file: FileId,
    /// Compiled for tests only.
    pub(crate) test: bool,
    /// A name may stand for a module, a function and a macro at once.
    names: HashMap<String, Vec<Name>>,
    globs: Vec<Vec<String>>,
}

enum Name {
    Item { public: bool },
    Module(ModuleId),
    Use(Vec<String>),
}

/// What a path stands for, re-exports followed to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An item that the module defines.
    Item { module: ModuleId, public: bool },
    /// The module itself.
    Module(ModuleId),
    /// An item of another crate, or a name that is local to a function.
    External(Vec<String>),
    /// Nothing that the module defines.
    Missing(ModuleId),
}

/// One leaf of the tree of a `use`.
pub(crate) struct Leaf {
    pub(crate) path: Vec<String>,
    /// The name in scope; a glob has none.
    pub(crate) name: Option<String>,
    pub(crate) span: Span,
}

pub(crate) struct Modules {
    pub(crate) files: Vec<SourceFile>,
    modules: Vec<Module>,
}

impl Modules {
    /// Loads the crate whose root is the file `root`, from texts by path.
    pub(crate) fn load(root: &str, texts: &BTreeMap<String, String>) -> Self {
        let mut modules = Self { files: Vec::new(), modules: Vec::new() };
        modules.add_file(root, texts, Vec::new(), None, false);
        let orphan = texts.keys().find(|path| modules.files.iter().all(|file| file.path != **path));
        assert_eq!(orphan, None, "is in no module");
        modules
    }

    pub(crate) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id]
    }

    /// The inline or file module `name` directly in `parent`.
    pub(crate) fn child(&self, parent: ModuleId, name: &str) -> Option<ModuleId> {
        let names = self.modules[parent].names.get(name)?;
        names.iter().find_map(|name| if let Name::Module(id) = name { Some(*id) } else { None })
    }

    fn add_file(
        &mut self,
        path: &str,
        texts: &BTreeMap<String, String>,
        module_path: Vec<String>,
        parent: Option<ModuleId>,
        test: bool,
    ) -> ModuleId {
        let text = texts.get(path).unwrap_or_else(|| panic!("{path} is not there")).clone();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let syntax = Rc::new(syntax);
        let module = self.add_module(module_path, parent, self.files.len(), test);
        let file = SourceFile { path: path.to_owned(), text, syntax: Rc::clone(&syntax), module };
        self.files.push(file);
        let (directory, name) = path.rsplit_once('/').unwrap();
        let children = match name {
            "lib.rs" | "main.rs" | "mod.rs" => directory.to_owned(),
            _ => path.strip_suffix(".rs").unwrap().to_owned(),
        };
        self.add_items(&syntax.items, module, &children, texts);
        module
    }

    fn add_module(
        &mut self,
        path: Vec<String>,
        parent: Option<ModuleId>,
        file: FileId,
        test: bool,
    ) -> ModuleId {
        let names = HashMap::new();
        self.modules.push(Module { path, parent, file, test, names, globs: Vec::new() });
        self.modules.len() - 1
    }

    /// Enters what `items` define into `module`, whose child modules are files in `directory`.
    fn add_items(
        &mut self,
        items: &[Item],
        module: ModuleId,
        directory: &str,
        texts: &BTreeMap<String, String>,
    ) {
        for item in items {
            match item {
                Item::Mod(item) => self.add_child(item, module, directory, texts),
                Item::Use(item) => self.add_use(item, module),
                Item::Macro(item) => self.add_macro(item, module),
                _ => {
                    if let Some((name, visibility)) = named(item) {
                        let public = matches!(visibility, Visibility::Public(_));
                        self.add_name(module, name, Name::Item { public });
                    }
                }
            }
        }
    }

    /// Enters a macro and what it defines: items in its arms are defined where it is used, which is
    /// taken to be the same module.
    fn add_macro(&mut self, item: &ItemMacro, module: ModuleId) {
        if let Some(ident) = &item.ident {
            let public = item.attrs.iter().any(|attr| attr.path().is_ident("macro_export"));
            let scope = if public { 0 } else { module };
            self.add_name(scope, ident.to_string(), Name::Item { public });
        }
        for defined in tokens::items(&item.mac.tokens) {
            if item.ident.is_some() || !defined.nested {
                self.add_name(module, defined.name, Name::Item { public: true });
            }
        }
    }

    fn add_name(&mut self, module: ModuleId, name: String, value: Name) {
        self.modules[module].names.entry(name).or_default().push(value);
    }

    fn add_child(
        &mut self,
        item: &ItemMod,
        parent: ModuleId,
        directory: &str,
        texts: &BTreeMap<String, String>,
    ) {
        let name = item.ident.to_string();
        let test = self.modules[parent].test || name == "tests" || is_test(&item.attrs);
        let path = [self.modules[parent].path.as_slice(), std::slice::from_ref(&name)].concat();
        let child = if let Some((_, items)) = &item.content {
            let child = self.add_module(path, Some(parent), self.modules[parent].file, test);
            self.add_items(items, child, &format!("{directory}/{name}"), texts);
            child
        } else {
            let file = match path_attribute(&item.attrs) {
                Some(file) => {
                    let own = &self.files[self.modules[parent].file].path;
                    format!("{}/{file}", own.rsplit_once('/').unwrap().0)
                }
                None => {
                    let file = format!("{directory}/{name}.rs");
                    let folder = format!("{directory}/{name}/mod.rs");
                    if texts.contains_key(&file) { file } else { folder }
                }
            };
            self.add_file(&file, texts, path, Some(parent), test)
        };
        self.add_name(parent, name, Name::Module(child));
    }

    fn add_use(&mut self, item: &ItemUse, module: ModuleId) {
        for leaf in leaves(item) {
            match leaf.name {
                Some(name) => self.add_name(module, name, Name::Use(leaf.path)),
                None => self.modules[module].globs.push(leaf.path),
            }
        }
    }

    /// Where a path with `crate`, `self` or `super` in front leads, from the root of the crate.
    pub(crate) fn absolute(&self, from: ModuleId, path: &[String]) -> Option<Vec<String>> {
        let (module, rest) = self.anchor(from, path)?;
        Some([self.modules[module].path.as_slice(), rest].concat())
    }

    /// The module that `crate`, `self` or `super`s stand for, and what comes after them.
    fn anchor<'p>(&self, from: ModuleId, path: &'p [String]) -> Option<(ModuleId, &'p [String])> {
        let (mut module, mut rest) = match path.first()?.as_str() {
            "crate" => (0, &path[1..]),
            "self" => (from, &path[1..]),
            "super" => (from, path),
            _ => return None,
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            module = self.modules[module].parent?;
            rest = &rest[1..];
        }
        Some((module, rest))
    }

    /// Everything that `path` stands for in the module `from`.
    pub(crate) fn resolve(&self, from: ModuleId, path: &[String]) -> Vec<Target> {
        self.resolve_beyond(from, path, &mut Vec::new())
    }

    /// `within` are the imports that are being followed, so that none is followed into itself.
    fn resolve_beyond<'a>(
        &'a self,
        from: ModuleId,
        path: &[String],
        within: &mut Vec<&'a [String]>,
    ) -> Vec<Target> {
        if let Some((module, rest)) = self.anchor(from, path) {
            return self.descend(module, rest, within);
        }
        let found = match path[0].as_str() {
            "" => Vec::new(),
            first => self.look_up(from, first, within),
        };
        if found.is_empty() {
            let path = path.iter().filter(|segment| !segment.is_empty()).cloned().collect();
            return vec![Target::External(path)];
        }
        self.follow(found, &path[1..], within)
    }

    fn descend<'a>(
        &'a self,
        module: ModuleId,
        rest: &[String],
        within: &mut Vec<&'a [String]>,
    ) -> Vec<Target> {
        let Some(first) = rest.first() else { return vec![Target::Module(module)] };
        let found = self.look_up(module, first, within);
        if found.is_empty() {
            return vec![Target::Missing(module)];
        }
        self.follow(found, &rest[1..], within)
    }

    fn look_up<'a>(
        &'a self,
        module: ModuleId,
        name: &str,
        within: &mut Vec<&'a [String]>,
    ) -> Vec<Target> {
        let mut found = Vec::new();
        for name in self.modules[module].names.get(name).into_iter().flatten() {
            match name {
                Name::Item { public } => found.push(Target::Item { module, public: *public }),
                Name::Module(child) => found.push(Target::Module(*child)),
                // The same piece of memory is the same import.
                Name::Use(path) if within.iter().any(|other| std::ptr::eq(*other, &path[..])) => {}
                Name::Use(path) => {
                    within.push(path);
                    found.extend(self.resolve_beyond(module, path, within));
                    within.pop();
                }
            }
        }
        if found.is_empty() {
            found = self.look_up_globs(module, name, within);
        }
        found
    }

    fn look_up_globs<'a>(
        &'a self,
        module: ModuleId,
        name: &str,
        within: &mut Vec<&'a [String]>,
    ) -> Vec<Target> {
        let mut found = Vec::new();
        for path in &self.modules[module].globs {
            if within.iter().any(|other| std::ptr::eq(*other, &path[..])) {
                continue;
            }
            within.push(path);
            for target in self.resolve_beyond(module, path, within) {
                if let Target::Module(other) = target {
                    found.extend(self.look_up(other, name, within));
                }
            }
            within.pop();
        }
        found
    }

    fn follow<'a>(
        &'a self,
        found: Vec<Target>,
        rest: &[String],
        within: &mut Vec<&'a [String]>,
    ) -> Vec<Target> {
        if rest.is_empty() {
            return found;
        }
        let only_modules = found.iter().any(|target| matches!(target, Target::Module(_)));
        let mut ends = Vec::new();
        for target in found {
            match target {
                Target::Module(module) => ends.extend(self.descend(module, rest, within)),
                Target::External(path) => ends.push(Target::External([&path, rest].concat())),
                // A variant, a constant or a function of a type belongs to the type.
                item if !only_modules => ends.push(item),
                _ => {}
            }
        }
        if ends.iter().any(|target| !matches!(target, Target::Missing(_))) {
            ends.retain(|target| !matches!(target, Target::Missing(_)));
        }
        ends
    }
}

/// The leaves of a `use`.
pub(crate) fn leaves(item: &ItemUse) -> Vec<Leaf> {
    let prefix = if item.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
    let mut found = Vec::new();
    add_leaves(&item.tree, &prefix, &mut found);
    found
}

fn add_leaves(tree: &UseTree, prefix: &[String], found: &mut Vec<Leaf>) {
    let join = |name: String| match name.as_str() {
        "self" if !prefix.is_empty() => prefix.to_vec(),
        _ => [prefix, &[name]].concat(),
    };
    match tree {
        UseTree::Path(tree) => add_leaves(&tree.tree, &join(tree.ident.to_string()), found),
        UseTree::Name(tree) => {
            let path = join(tree.ident.to_string());
            found.push(Leaf { name: path.last().cloned(), path, span: tree.ident.span() });
        }
        UseTree::Rename(tree) => {
            let (name, span) = (Some(tree.rename.to_string()), tree.ident.span());
            found.push(Leaf { path: join(tree.ident.to_string()), name, span });
        }
        UseTree::Glob(tree) => {
            let span = tree.star_token.spans[0];
            found.push(Leaf { path: prefix.to_vec(), name: None, span });
        }
        UseTree::Group(tree) => {
            for tree in &tree.items {
                add_leaves(tree, prefix, found);
            }
        }
    }
}

fn named(item: &Item) -> Option<(String, &Visibility)> {
    let (ident, visibility) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::TraitAlias(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((ident.to_string(), visibility))
}

fn path_attribute(attrs: &[Attribute]) -> Option<String> {
    attrs.iter().find_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => tokens::string(&meta.value),
        _ => None,
    })
}

/// Returns whether what has these attributes is compiled for tests only.
pub(crate) fn is_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let test = attr.path().segments.last().is_some_and(|segment| segment.ident == "test");
        let cfg = attr.path().is_ident("cfg");
        test || (cfg && attr.parse_args().is_ok_and(|predicate| !holds_without_test(&predicate)))
    })
}

/// Returns whether a predicate of `cfg` may hold in a build that is not for tests.
fn holds_without_test(predicate: &Meta) -> bool {
    let Meta::List(list) = predicate else { return !predicate.path().is_ident("test") };
    let parts =
        list.parse_args_with(syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated);
    let Ok(parts) = parts else { return true };
    match () {
        () if list.path.is_ident("any") => parts.iter().any(holds_without_test),
        () if list.path.is_ident("all") => parts.iter().all(holds_without_test),
        // Anything but `test` may as well not hold.
        () => true,
    }
}
