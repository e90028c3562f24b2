//! Expands the parts in which the stub of an operator differs from that of a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

use crate::expand::handler::{Names, placed};
use crate::expand::outcome::ends;
use crate::expand::stub::Stub;
use crate::model::operator::{OperatorResult, OperatorShape};
use crate::parameters::{Origin, Parameter};

impl OperatorShape<'_> {
    /// Returns the types of the items that it takes and passes on.
    ///
    /// ```text
    /// // Input:                                           // Output:
    /// fn hot(r: Reading, limit: f64) -> Option<Celsius>   Reading, Celsius
    /// fn warm(r: &Reading, limit: f64) -> bool            Reading, Reading
    /// ```
    pub(super) fn items(&self) -> [TokenStream; 2] {
        let output = match self.result {
            OperatorResult::Filter => self.item,
            OperatorResult::MapSome(ty) | OperatorResult::Map(ty) => ty,
        };
        [self.item.to_token_stream(), output.to_token_stream()]
    }
}

impl Stub<'_> {
    /// ```text
    /// // Input:
    /// #[remote(operator)]
    /// fn hot(r: Reading, limit: f64) -> Option<Celsius> { .. }
    ///
    /// // Output:
    /// impl TakesItems<Reading> for hot {}
    /// ```
    pub(super) fn takes(&self, operator: &OperatorShape<'_>) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let item = operator.item;
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #private::TakesItems<#item> for #ident {}
        }
    }

    /// ```text
    /// // Input:
    /// #[remote(operator)]
    /// pub fn hot(r: Reading, limit: f64) -> Option<Celsius> { .. }
    ///
    /// // Output:
    /// impl hot {
    ///     pub fn with(limit: f64) -> Applied<Self> { applied((limit,)) }
    ///     #[deprecated = "`hot` is an operator, ..."]
    ///     pub const call: PassItToThrough = PassItToThrough;
    /// }
    /// ```
    pub(super) fn with(&self) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let visibility = &self.function.visibility;
        let deprecated = self.function.attributes_named("deprecated");
        let names: Vec<_> = self.arguments.iter().map(|it| it.ident).collect();
        let types = self.arguments.iter().map(|it| it.ty);
        let given: Vec<_> = names.iter().map(ToString::to_string).collect();
        let use_it = format!("stream.through({ident}::with({}))", given.join(", "));
        let doc = format!(
            " Applies {} to the items of a stream, at its node: `{use_it}`.",
            self.shown_function()
        );
        let not_called = format!("`{ident}` is an operator, and is not called: write `{use_it}`");
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #ident {
                #[doc = #doc]
                #(#deprecated)*
                #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
                #visibility fn with(#(#names: #types),*) -> #private::Applied<Self> {
                    #private::applied((#(#names,)*))
                }

                #[doc(hidden)]
                #[deprecated = #not_called]
                #[allow(dead_code, non_upper_case_globals)]
                #visibility const call: #private::PassItToThrough = #private::PassItToThrough;
            }
        }
    }

    /// ```text
    /// // Input:                                           // Output:
    /// fn hot(r: Reading, limit: f64) -> Option<Celsius>   mapping::<Self>(|_, item, (a,)| hot(item, copied(a)))
    /// fn kelvin(r: Reading) -> Kelvin                     mapping::<Self>(|_, item, ()| Some(kelvin(item)))
    /// fn warm(r: &Reading, limit: f64) -> bool            filtering::<Self>(|_, item, (a,)| warm(item, copied(a)))
    /// ```
    pub(super) fn operator_handler(&self, operator: &OperatorShape<'_>) -> TokenStream {
        let names = Names::new(self);
        let (first, last) = self.place_of_result();
        let private = self.private_at(first);
        let item = Ident::new("item", Span::mixed_site());
        let applied = self.applied(&names, &item);
        let (constructor, body) = match operator.result {
            OperatorResult::Filter => ("filtering", applied),
            OperatorResult::MapSome(_) => ("mapping", applied),
            OperatorResult::Map(_) => {
                let some = quote_spanned!(first=> ::core::option::Option::Some);
                let value = quote_spanned!(last=> (#applied));
                ("mapping", quote!(#some #value))
            }
        };
        let constructor = Ident::new(constructor, first);
        let (inputs, arguments) = (self.inputs_pattern(&names), &names.arguments);
        let parameters = quote_spanned!(first=> |#inputs, #item, (#(#arguments,)*)|);
        let closure = quote_spanned!(last=> (#parameters { #body }));
        quote_spanned!(first=> #private::#constructor::<Self> #closure)
    }

    /// Writes the call of the function for one item.
    fn applied(&self, names: &Names, item: &Ident) -> TokenStream {
        let function = &self.function.signature.ident;
        let mut arguments = names.arguments.iter();
        let mut is_first = true;
        let parameters = self.parameters.iter().map(|parameter| match parameter.origin {
            Origin::State(ty) => placed(&names.inputs, parameter, &quote!(state::<#ty>)),
            Origin::Context => placed(&names.inputs, parameter, &quote!(context)),
            _ if std::mem::take(&mut is_first) => item.to_token_stream(),
            _ => arguments.next().map(|name| self.copy(name, parameter)).unwrap_or_default(),
        });
        quote!(#function(#(#parameters),*))
    }

    /// Writes the copy of an argument, with the span of its type: there the compiler reports one that
    /// cannot be copied.
    fn copy(&self, name: &Ident, parameter: &Parameter<'_>) -> TokenStream {
        let (first, last) = ends(parameter.ty);
        let private = self.private_at(first);
        let mut name = name.clone();
        name.set_span(name.span().located_at(first));
        let given = quote_spanned!(last=> (#name));
        quote_spanned!(first=> #private::copied #given)
    }
}
