//! What inside a type cannot cross the network: references, lifetimes, `impl Trait`, `Self`.

use syn::visit::{self, Visit};
use syn::{
    Lifetime, ParenthesizedGenericArguments, PreciseCapture, Type, TypeFnPtr, TypeImplTrait,
    TypePath, TypeReference,
};

use crate::mistakes::Mistakes;
use crate::returns::bare;
use crate::types::{owned, peel, spell};

/// Where the type stands.
enum Place {
    /// It is the argument of this name.
    Argument(String),
    /// It is returned.
    Result,
}

/// Looks for what cannot cross the network in one type.
pub(crate) struct Crossing {
    place: Place,
    /// The outermost stream is what the function returns; a second one inside it is a mistake.
    streams_left: usize,
}

impl Crossing {
    /// The type of an argument.
    pub(crate) fn argument(name: String) -> Self {
        Self { place: Place::Argument(name), streams_left: 0 }
    }

    /// A returned value.
    pub(crate) fn result() -> Self {
        Self { place: Place::Result, streams_left: 0 }
    }

    /// A returned stream.
    pub(crate) fn stream() -> Self {
        Self { place: Place::Result, streams_left: 1 }
    }

    pub(crate) fn check(mut self, ty: &Type, mistakes: &mut Mistakes) {
        if let (Place::Argument(name), Type::Reference(reference)) = (&self.place, peel(ty)) {
            let owned = owned(&reference.elem);
            mistakes.at(
                reference,
                match reference.mutability {
                    None => format!("`#[remote]` arguments are owned: write `{name}: {owned}`"),
                    Some(_) => format!(
                        "the caller's value cannot be changed from another machine: \
                         take `{name}: {owned}` and return the new value"
                    ),
                },
            );
            return;
        }
        let mut visitor = Visitor { crossing: &mut self, mistakes };
        visitor.visit_type(ty);
    }

    fn must_be_owned(&self) -> &'static str {
        match self.place {
            Place::Argument(_) => "`#[remote]` arguments are owned",
            Place::Result => "a remote function returns owned data",
        }
    }
}

struct Visitor<'a> {
    crossing: &'a mut Crossing,
    mistakes: &'a mut Mistakes,
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let rule = self.crossing.must_be_owned();
        let owned = owned(&reference.elem);
        let message = format!("{rule}: write `{owned}` instead of `{}`", spell(reference));
        self.mistakes.at(reference, message);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
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
            Place::Argument(_) => {
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
            self.mistakes
                .at(path, "methods are not supported yet: write a free function and name the type");
        }
        visit::visit_type_path(self, path);
    }

    // A function's own types do not cross, and no function does: serde refuses it by name.
    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
    // `use<'a>` only repeats what is reported where it is declared.
    fn visit_precise_capture(&mut self, _: &'ast PreciseCapture) {}
}
