//! Finds the parts of a type that cannot cross the network or stay on a node: references,
//! lifetimes, `impl Trait`, `Self`.

use syn::visit::{self, Visit};
use syn::{
    Lifetime, ParenthesizedGenericArguments, PreciseCapture, Type, TypeFnPtr, TypeImplTrait,
    TypePath, TypeReference,
};

use crate::mistakes::Mistakes;
use crate::returns::bare;
use crate::types::{is_context, owned, peel, spell};

/// Where a type is written.
enum Place {
    /// As the argument of this name.
    Argument(String),
    /// As the client stream.
    Upload,
    /// Behind the reference of a `#[state]`.
    State,
    /// As the referent of `&self`.
    Receiver,
    /// In the return type.
    Result,
}

/// Visits one type, and reports the parts that cannot cross the network.
pub(crate) struct Crossing<'a> {
    place: Place,
    /// The outermost stream is the one that the function takes or returns; a stream inside it is a
    /// mistake.
    streams_left: usize,
    /// The lifetimes of a returned stream, which may borrow from the node.
    lasting: Vec<&'a Lifetime>,
}

impl<'a> Crossing<'a> {
    /// Checks the type of an argument.
    pub(crate) fn argument(name: String) -> Self {
        Self::at(Place::Argument(name))
    }

    /// Checks the type of a client stream.
    pub(crate) fn upload() -> Self {
        Self { streams_left: 1, ..Self::at(Place::Upload) }
    }

    /// Checks the referent of a `#[state]`. It does not cross the network, but the node keeps it.
    pub(crate) fn state() -> Self {
        Self::at(Place::State)
    }

    /// Checks the type of a block; the node keeps a value of it.
    pub(crate) fn receiver() -> Self {
        Self::at(Place::Receiver)
    }

    /// Checks the type of a returned value.
    pub(crate) fn result() -> Self {
        Self::at(Place::Result)
    }

    /// Checks the type of a returned stream, which may have the lifetimes in `lasting`.
    pub(crate) fn stream(lasting: Vec<&'a Lifetime>) -> Self {
        Self { streams_left: 1, lasting, ..Self::at(Place::Result) }
    }

    fn at(place: Place) -> Self {
        Self { place, streams_left: 0, lasting: Vec::new() }
    }

    pub(crate) fn check(mut self, ty: &Type, mistakes: &mut Mistakes) {
        if let (Place::Argument(name), Type::Reference(reference)) = (&self.place, peel(ty)) {
            mistakes.at(reference, borrowed_argument(name, reference));
            return;
        }
        let mut visitor = Visitor { crossing: &mut self, mistakes };
        visitor.visit_type(ty);
    }

    fn must_be_owned(&self) -> &'static str {
        match self.place {
            Place::Argument(_) => "`#[remote]` arguments are owned",
            Place::Upload => "the items of a client stream are owned",
            Place::State => "`#[state]` lasts as long as the node",
            Place::Receiver => "what `&self` refers to lasts as long as the node",
            Place::Result => "a remote function returns owned data",
        }
    }
}

/// Returns the message about the argument `name`, which is a reference.
fn borrowed_argument(name: &str, reference: &TypeReference) -> String {
    let owned = owned(&reference.elem);
    if reference.mutability.is_some() {
        return format!(
            "the caller's value cannot be changed from another machine: \
             take `{name}: {owned}` and return the new value"
        );
    }
    let rule = "`#[remote]` arguments are owned";
    if is_context(&reference.elem) {
        return format!("{rule}: for the context of the call write `#[ctx] {name}: &{owned}`");
    }
    format!(
        "{rule}: write `{name}: {owned}`, or `#[state] {name}: &{owned}` for what the node keeps"
    )
}

struct Visitor<'a, 'b> {
    crossing: &'a mut Crossing<'b>,
    mistakes: &'a mut Mistakes,
}

impl<'ast> Visit<'ast> for Visitor<'_, '_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let lifetime = reference.lifetime.as_ref();
        if let Place::State | Place::Receiver = self.crossing.place
            && lifetime.is_some_and(|lifetime| lifetime.ident == "static")
        {
            return visit::visit_type_reference(self, reference);
        }
        let rule = self.crossing.must_be_owned();
        let owned = owned(&reference.elem);
        let message = format!("{rule}: write `{owned}` instead of `{}`", spell(reference));
        self.mistakes.at(reference, message);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        let lasting = self.crossing.lasting.iter().any(|lasting| std::ptr::eq(*lasting, lifetime));
        if lifetime.ident != "static" && !(lasting && lifetime.ident == "_") {
            let rule = self.crossing.must_be_owned();
            let message = format!("{rule}: use a type without `{lifetime}`, or make it `'static`");
            self.mistakes.at(lifetime, message);
        }
    }

    fn visit_type_impl_trait(&mut self, it: &'ast TypeImplTrait) {
        if self.crossing.streams_left > 0 && bare(&Type::ImplTrait(it.clone())).is_some() {
            self.crossing.streams_left -= 1;
            return visit::visit_type_impl_trait(self, it);
        }
        let message = match self.crossing.place {
            Place::Argument(_) | Place::Upload | Place::State | Place::Receiver => {
                "remote functions cannot be generic: write a concrete type instead of `impl Trait`"
            }
            Place::Result => {
                "the caller must know every type: write a concrete type instead of `impl Trait`"
            }
        };
        self.mistakes.at(it, message);
    }

    fn visit_type_path(&mut self, path: &'ast TypePath) {
        if path.path.segments.first().is_some_and(|segment| segment.ident == "Self") {
            let message = "`Self` has no meaning outside of methods: name the type; \
                           `#[remote]` for methods goes on the `impl` block";
            self.mistakes.at(path, message);
        }
        visit::visit_type_path(self, path);
    }

    // `fn(..)` does not cross the network, whatever its types: the compiler refuses it, because it
    // does not implement `Serialize`.
    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
    // The lifetimes in `use<'a>` are reported where they are declared.
    fn visit_precise_capture(&mut self, _: &'ast PreciseCapture) {}
}
