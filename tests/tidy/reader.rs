//! Reads the code of a crate, module by module.

use std::collections::{HashMap, HashSet};
use std::mem;

use proc_macro2::{Span, TokenStream};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ExprAssign, Field, Fields, ImplItem, Item, ItemImpl, ItemMod, ItemUse,
    Local, Macro, Member, Meta, PatIdent, Path, Signature, Stmt, TraitItem, Type, Visibility,
};

use crate::facts::{Facts, FunctionFacts, Place, Reference, TypeFacts};
use crate::modules::{self, ModuleId, Modules, Target};
use crate::tokens;

/// Macros that make tokens of what they are given, for another crate.
const QUOTES: &[&str] = &["quote", "quote_spanned", "parse_quote", "parse_quote_spanned"];

/// Enters into `facts` what the code says.
pub(crate) fn read(modules: &Modules, facts: &mut Facts) {
    let mut reader = Reader {
        modules,
        facts,
        module: 0,
        test: false,
        public: false,
        scopes: Vec::new(),
        bound: HashSet::new(),
    };
    for file in &modules.files {
        reader.module = file.module;
        reader.test = modules.module(file.module).test;
        reader.visit_file(&file.syntax);
    }
}

struct Reader<'a> {
    modules: &'a Modules,
    facts: &'a mut Facts,
    module: ModuleId,
    /// In what is compiled for tests only.
    test: bool,
    /// In a signature that users of the crate see.
    public: bool,
    /// The imports of the blocks around.
    scopes: Vec<HashMap<String, Vec<String>>>,
    /// The variables of the function around.
    bound: HashSet<String>,
}

impl Reader<'_> {
    fn place(&self, span: Span) -> Place {
        Place { file: self.modules.module(self.module).file, line: span.start().line }
    }

    fn in_public(&mut self, public: bool, read: impl FnOnce(&mut Self)) {
        let outer = mem::replace(&mut self.public, public);
        read(self);
        self.public = outer;
    }

    /// Reads what has these attributes.
    fn with_attributes(&mut self, attrs: &[Attribute], read: impl FnOnce(&mut Self)) {
        let outer = self.test;
        self.test |= modules::is_test(attrs);
        read(self);
        self.test = outer;
    }

    fn add_type(&mut self, name: String, span: Span, attrs: &[Attribute]) {
        if !self.test {
            let alternative = attrs.iter().any(|attr| attr.path().is_ident("cfg"));
            let alternative = alternative.then_some(self.module);
            let place = self.place(span);
            self.facts.types.push(TypeFacts { name, place, alternative });
        }
    }

    /// Reads a function: its variables are not what the module has under their names.
    fn add_function(&mut self, signature: &Signature, body: &Block, read: impl FnOnce(&mut Self)) {
        let place = self.place(signature.fn_token.span);
        let lines = body.brace_token.span.close().end().line + 1 - place.line;
        let name = signature.ident.to_string();
        self.facts.functions.push(FunctionFacts { name, place, lines });
        let mut variables = Variables(self.bound.clone());
        variables.visit_signature(signature);
        variables.visit_block(body);
        let outer = mem::replace(&mut self.bound, variables.0);
        read(self);
        self.bound = outer;
    }

    fn add_path(&mut self, path: Vec<String>, span: Span) {
        let single = path.len() == 1;
        if path[0] == "Self" || single && self.bound.contains(&path[0]) {
            return;
        }
        let import = self.scopes.iter().rev().find_map(|scope| scope.get(&path[0]));
        let path = match import {
            Some(import) => [import.as_slice(), &path[1..]].concat(),
            None => path,
        };
        self.add_reference(path, span, false, false);
    }

    fn add_reference(&mut self, path: Vec<String>, span: Span, reexport: bool, glob: bool) {
        let targets = self.modules.resolve(self.module, &path);
        let mut reference = Reference {
            place: self.place(span),
            test: self.test,
            reexport,
            absolute: self.modules.absolute(self.module, &path),
            external: None,
            exposes: None,
            files: Vec::new(),
            missing: false,
            written: path.join("::"),
        };
        for target in targets {
            match target {
                Target::Item { module, .. } => {
                    reference.files.push(self.modules.module(module).file);
                }
                Target::Module(module) if glob => {
                    reference.files.push(self.modules.module(module).file);
                }
                Target::Module(_) => {}
                Target::Missing(module) => {
                    reference.missing = true;
                    reference.files.push(self.modules.module(module).file);
                }
                Target::External(other) => {
                    if path.ends_with(&other) {
                        reference.external = other.first().cloned();
                    }
                    if self.public {
                        reference.exposes = other.first().cloned();
                    }
                }
            }
        }
        self.facts.references.push(reference);
    }

    fn add_tokens(&mut self, tokens: &TokenStream) {
        for path in tokens::paths(tokens) {
            // A single small name may be anything.
            let item = path.path[0].starts_with(char::is_uppercase);
            if path.path.len() > 1 || item {
                self.add_path(path.path, path.span);
            }
        }
        for (name, span) in tokens::macros(tokens) {
            let place = self.place(span);
            self.facts.macros.push((name, place));
        }
        for (name, span) in tokens::identifiers(tokens) {
            self.add_identifier(&name, span);
        }
    }

    /// What the tokens of a macro define.
    fn add_definitions(&mut self, tokens: &TokenStream) {
        for item in tokens::items(tokens) {
            // A `type` may be one of a trait.
            if ["struct", "enum", "union", "trait"].contains(&item.keyword.as_str()) {
                self.add_type(item.name, item.span, &[]);
            }
        }
        for function in tokens::functions(tokens) {
            let place = self.place(function.span);
            let lines = function.last_line + 1 - place.line;
            self.facts.functions.push(FunctionFacts { name: function.name, place, lines });
        }
    }

    fn add_identifier(&mut self, name: &str, span: Span) {
        if name.contains("0rtt") {
            let place = self.place(span);
            self.facts.early_data.push(place);
        }
    }

    /// The fields of a public struct are seen if they are public themselves.
    fn add_fields(&mut self, fields: &Fields) {
        for field in fields {
            let public = self.public && is_public(&field.vis);
            self.in_public(public, |reader| reader.visit_field(field));
        }
    }

    /// Whether users of the crate see the type that an `impl` is for.
    fn is_public_type(&self, of: &Type) -> bool {
        let Type::Path(of) = of else { return true };
        let targets = self.modules.resolve(self.module, &segments(&of.path));
        !targets.iter().all(|target| matches!(target, Target::Item { public: false, .. }))
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attrs, visibility) = head(item);
        let public = visibility.is_some_and(is_public);
        self.with_attributes(attrs, |reader| {
            if let Some((name, span)) = type_name(item) {
                reader.add_type(name, span, attrs);
            }
            reader.in_public(public, |reader| match item {
                Item::Struct(item) => {
                    item.attrs.iter().for_each(|attr| reader.visit_attribute(attr));
                    reader.visit_generics(&item.generics);
                    reader.add_fields(&item.fields);
                }
                Item::Fn(function) => {
                    reader.add_function(&function.sig, &function.block, |reader| {
                        visit::visit_item(reader, item);
                    });
                }
                _ => visit::visit_item(reader, item),
            });
        });
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let child = self.modules.child(self.module, &item.ident.to_string());
        if let Some((_, items)) = &item.content {
            let outer = (self.module, self.test);
            // A module in a function is none of the tree; its names are read as the function's.
            self.module = child.unwrap_or(self.module);
            self.test |= self.modules.module(self.module).test;
            items.iter().for_each(|item| self.visit_item(item));
            (self.module, self.test) = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let reexport = !matches!(item.vis, Visibility::Inherited);
        for leaf in modules::leaves(item) {
            self.add_reference(leaf.path, leaf.span, reexport, leaf.name.is_none());
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        item.attrs.iter().for_each(|attr| self.visit_attribute(attr));
        let public = item.trait_.is_some() && self.is_public_type(&item.self_ty);
        self.in_public(public, |reader| {
            reader.visit_generics(&item.generics);
            if let Some((path, _)) = &item.trait_ {
                reader.visit_path(path);
            }
            reader.visit_type(&item.self_ty);
            item.items.iter().for_each(|item| reader.visit_impl_item(item));
        });
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let (attrs, public): (&[Attribute], bool) = match item {
            ImplItem::Const(item) => (&item.attrs, is_public(&item.vis)),
            ImplItem::Fn(item) => (&item.attrs, is_public(&item.vis)),
            ImplItem::Type(item) => (&item.attrs, self.public),
            ImplItem::Macro(item) => (&item.attrs, false),
            _ => (&[], false),
        };
        self.with_attributes(attrs, |reader| {
            reader.in_public(public, |reader| match item {
                ImplItem::Fn(function) => {
                    reader.add_function(&function.sig, &function.block, |reader| {
                        visit::visit_impl_item(reader, item);
                    });
                }
                _ => visit::visit_impl_item(reader, item),
            });
        });
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attrs: &[Attribute] = match item {
            TraitItem::Fn(item) => &item.attrs,
            _ => &[],
        };
        self.with_attributes(attrs, |reader| match item {
            TraitItem::Fn(function) => match &function.default {
                Some(body) => reader.add_function(&function.sig, body, |reader| {
                    visit::visit_trait_item(reader, item);
                }),
                None => visit::visit_trait_item(reader, item),
            },
            _ => visit::visit_trait_item(reader, item),
        });
    }

    fn visit_field(&mut self, field: &'ast Field) {
        self.with_attributes(&field.attrs, |reader| visit::visit_field(reader, field));
    }

    fn visit_local(&mut self, local: &'ast Local) {
        self.with_attributes(&local.attrs, |reader| visit::visit_local(reader, local));
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let mut scope = HashMap::new();
        for statement in &block.stmts {
            if let Stmt::Item(Item::Use(item)) = statement {
                let leaves = modules::leaves(item).into_iter();
                scope.extend(leaves.filter_map(|leaf| Some((leaf.name?, leaf.path))));
            }
        }
        self.scopes.push(scope);
        self.in_public(false, |reader| visit::visit_block(reader, block));
        self.scopes.pop();
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.in_public(false, |reader| visit::visit_expr(reader, expression));
    }

    fn visit_expr_assign(&mut self, assign: &'ast ExprAssign) {
        visit::visit_expr_assign(self, assign);
        let Expr::Field(field) = &*assign.left else { return };
        let Member::Named(name) = &field.member else { return };
        let off = match &*assign.right {
            Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Int(value) => value.base10_digits() == "0",
                syn::Lit::Bool(value) => !value.value,
                _ => false,
            },
            _ => false,
        };
        if !off && (name == "max_early_data_size" || name == "enable_early_data") {
            let place = self.place(name.span());
            self.facts.early_data.push(place);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.add_path(segments(path), path.segments[0].ident.span());
        visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
        self.add_identifier(&ident.to_string(), ident.span());
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        let name = &item.path.segments.last().expect("no path is empty").ident;
        let place = self.place(name.span());
        self.facts.macros.push((name.to_string(), place));
        if !QUOTES.contains(&name.to_string().as_str()) {
            self.add_definitions(&item.tokens);
            self.add_tokens(&item.tokens);
        }
        // The macro itself, unless it has but one name, which may be that of a module too.
        if item.path.segments.len() > 1 {
            self.visit_path(&item.path);
        }
    }

    /// Links of documentation are no imports; what serde is told is.
    fn visit_attribute(&mut self, attr: &'ast Attribute) {
        if let Meta::List(list) = &attr.meta {
            for path in tokens::quoted_paths(&list.tokens) {
                self.add_path(path.path, path.span);
            }
        }
    }

    /// `pub(in crate::a)` is no import.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Collects the names of variables.
struct Variables(HashSet<String>);

impl<'ast> Visit<'ast> for Variables {
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        self.0.insert(pattern.ident.to_string());
        visit::visit_pat_ident(self, pattern);
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn segments(path: &Path) -> Vec<String> {
    let front = path.leading_colon.as_ref().map(|_| String::new());
    let names = path.segments.iter().map(|segment| segment.ident.to_string());
    front.into_iter().chain(names).collect()
}

fn head(item: &Item) -> (&[Attribute], Option<&Visibility>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.vis)),
        Item::Enum(item) => (&item.attrs, Some(&item.vis)),
        Item::Fn(item) => (&item.attrs, Some(&item.vis)),
        Item::Impl(item) => (&item.attrs, None),
        Item::Macro(item) => (&item.attrs, None),
        Item::Mod(item) => (&item.attrs, None),
        Item::Static(item) => (&item.attrs, Some(&item.vis)),
        Item::Struct(item) => (&item.attrs, Some(&item.vis)),
        Item::Trait(item) => (&item.attrs, Some(&item.vis)),
        Item::TraitAlias(item) => (&item.attrs, Some(&item.vis)),
        Item::Type(item) => (&item.attrs, Some(&item.vis)),
        Item::Union(item) => (&item.attrs, Some(&item.vis)),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}

fn type_name(item: &Item) -> Option<(String, Span)> {
    let ident = match item {
        Item::Enum(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some((ident.to_string(), ident.span()))
}
