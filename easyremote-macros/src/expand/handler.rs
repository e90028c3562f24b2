//! Expands the handler that a node runs.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::args::values::Batch;
use crate::expand::outcome::ends;
use crate::expand::stub::Stub;
use crate::parameters::{Origin, Parameter};
use crate::returns::{Returns, Source};

impl Stub<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
    ///
    /// // Output:
    /// impl Local for embed {
    ///     fn handler() -> Handler {
    ///         blocking::<Self>(|inputs, (text,)| embed(inputs.state::<Model>(), text)).needs_state::<Model>()
    ///     }
    /// }
    /// ```
    pub(super) fn local(&self) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let handler = match &self.operator {
            Some(operator) => self.operator_handler(operator),
            None => self.handler(),
        };
        let needs = self.needs();
        let policy = self.policy();
        let (generics, offers) = self.offers();
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #generics #private::#offers for #ident {
                fn handler() -> #private::Handler { #handler #needs #policy }
            }
        }
    }

    /// ```text
    /// // Input:                                   // Output:
    /// fn f(a: A) -> T                             blocking::<Self>(|_, (a,)| f(a))
    /// async fn f(a: A) -> T                       asynchronous::<Self, _>(|_, (a,)| async move { f(a).await })
    /// fn f(a: A) -> impl Iterator                 iterator::<Self>(|_, (a,), sink| StreamSink::iterate(sink, Ok(f(a))))
    /// async fn f(a: A) -> impl Iterator           async_iterator::<Self, _>(|_, (a,), sink| async move { StreamSink::iterate(sink, Ok(f(a).await)) })
    /// fn f(a: A) -> Result<impl Stream, E>        stream::<Self, _>(|_, (a,), sink| async move { StreamSink::forward(sink, f(a)).await })
    /// async fn f(a: A) -> Result<impl Stream, E>  stream::<Self, _>(|_, (a,), sink| async move { StreamSink::forward(sink, f(a).await).await })
    /// batch: fn f(a: Vec<A>) -> Vec<T>            batch::<Self, _>(BatchLimits::new(32, 5000), |_| 1, |_, (a,)| f(a))
    /// batch: async fn f(a: Vec<A>) -> Vec<T>      async_batch::<Self, _>(BatchLimits::new(32, 5000), |_| 1, |_, (a,)| async move { f(a).await })
    /// ```
    fn handler(&self) -> TokenStream {
        let names = Names::new(self);
        // The compiler reports an unsuitable result here, such as a future that is not `Send`: so
        // all of this has the span of the return type.
        let (first, last) = self.place_of_result();
        let is_async = self.function.signature.asyncness.is_some();
        let work = self.work(&names);
        let source = match &self.returns {
            Returns::Stream(stream) => Some(stream.source),
            Returns::Nothing | Returns::Value(_) => None,
        };
        let batch = self.options.batch.as_ref();
        let (constructor, is_task) = match (source, is_async) {
            (None, true) if batch.is_some() => {
                (quote_spanned!(first=> async_batch::<Self, _>), true)
            }
            (None, false) if batch.is_some() => (quote_spanned!(first=> batch::<Self, _>), false),
            (None, true) => (quote_spanned!(first=> asynchronous::<Self, _>), true),
            (None, false) if self.options.inline.is_some() => {
                (quote_spanned!(first=> inline::<Self>), false)
            }
            (None, false) => (quote_spanned!(first=> blocking::<Self>), false),
            (Some(Source::Iterator), true) => {
                (quote_spanned!(first=> async_iterator::<Self, _>), true)
            }
            (Some(Source::Iterator), false) => (quote_spanned!(first=> iterator::<Self>), false),
            (Some(Source::Stream), _) => (quote_spanned!(first=> stream::<Self, _>), true),
        };
        let body = if is_task { self.task(&names, work) } else { work };
        let private = self.private_at(first);
        let inputs = self.inputs_pattern(&names);
        let arguments = &names.arguments;
        let sink = source.map(|_| &names.sink).into_iter();
        let parameters = quote_spanned!(first=> |#inputs, (#(#arguments,)*) #(, #sink)*|);
        let body = quote_spanned!(last=> { #body });
        let limits = batch.map(|batch| self.batch_limits(batch, &names));
        let closure = quote_spanned!(last=> (#limits #parameters #body));
        quote_spanned!(first=> #private::#constructor #closure)
    }

    /// Writes the first arguments of a batch's constructor.
    ///
    /// ```text
    /// // Input:
    /// #[remote(batch(max = 32, wait = "5ms"))]
    /// #[remote(batch(max = 8192, wait = "5ms", weigh = tokens_of))]
    ///
    /// // Output:
    /// BatchLimits::new(32, 5000), |_| 1,
    /// BatchLimits::new(8192, 5000), |(a,)| Weight::weight(tokens_of(a)),
    /// ```
    fn batch_limits(&self, batch: &Batch, names: &Names) -> TokenStream {
        let private = &self.private;
        let max = Literal::u32_unsuffixed(batch.max);
        let wait = Literal::u64_unsuffixed(batch.wait_us);
        let arguments = &names.arguments;
        let weigh = match &batch.weigh {
            Some(path) => {
                // Here the compiler reports a function that takes another type.
                let place = path.span();
                let given = arguments.iter().map(|argument| {
                    let mut argument = argument.clone();
                    argument.set_span(argument.span().located_at(place));
                    argument
                });
                let weighed = quote_spanned!(place=> #path(#(#given),*));
                let located = self.private_at(place);
                let weight = quote_spanned!(place=> #located::Weight::weight(#weighed));
                quote!(|(#(#arguments,)*)| #weight)
            }
            None => quote!(|_| 1),
        };
        quote!(#private::BatchLimits::new(#max, #wait), #weigh,)
    }

    /// Writes the call of the function, and sends the result if it is a stream.
    fn work(&self, names: &Names) -> TokenStream {
        let result = self.result(names);
        let Returns::Stream(stream) = &self.returns else {
            return result;
        };
        // A path, not a method call: with the span of the whole type, the compiler merges two
        // errors about the type into one.
        let (first, last) = self.place_of_result();
        let (method, wait) = match stream.source {
            Source::Iterator => ("iterate", None),
            Source::Stream => ("forward", Some(quote_spanned!(last=> .await))),
        };
        let method = Ident::new(method, last);
        let private = self.private_at(first);
        let sink = &names.sink;
        let given = quote_spanned!(last=> (#sink, #result));
        quote_spanned!(first=> #private::StreamSink::#method #given #wait)
    }

    /// Writes the result of the function; a stream is always wrapped in a `Result`, whether or not
    /// its set-up can fail.
    fn result(&self, names: &Names) -> TokenStream {
        let (first, last) = self.place_of_result();
        let mut function = self.function.signature.ident.clone();
        if let Returns::Stream(_) = self.returns {
            function.set_span(function.span().located_at(first));
        }
        let path = self.path_of_method(function.span());
        let receiver = self.receiver(&names.inputs);
        let wait = self.function.signature.asyncness.map(|_| quote_spanned!(last=> .await));
        let mut arguments = names.arguments.iter();
        let parameters = self.parameters.iter().map(|parameter| match parameter.origin {
            Origin::Argument => arguments.next().to_token_stream(),
            Origin::Upload(_) => names.upload.to_token_stream(),
            Origin::State(ty) => placed(&names.inputs, parameter, &quote!(state::<#ty>)),
            Origin::Context if self.options.batch.is_some() => {
                placed(&names.inputs, parameter, &quote!(callers))
            }
            Origin::Context => placed(&names.inputs, parameter, &quote!(context)),
            Origin::Resume => placed(&names.inputs, parameter, &quote!(done)),
        });
        let values = receiver.into_iter().chain(parameters);
        let values = quote_spanned!(last=> (#(#values),*));
        let called = quote!(#path #function #values #wait);
        match &self.returns {
            Returns::Stream(stream) if stream.setup.is_none() => {
                let private = self.private_at(first);
                let called = quote_spanned!(last=> (#called));
                quote_spanned!(first=> ::core::result::Result::<_, #private::Never>::Ok #called)
            }
            _ => called,
        }
    }

    /// Writes the block that runs `work`. The block owns the inputs, from which `work` may borrow.
    ///
    /// ```text
    /// // Input:
    /// async fn upload(name: String, chunks: impl Stream<Item = Bytes>) -> u64 { .. }
    ///
    /// // Output:
    /// async move { let chunks = inputs.upload::<Bytes>(); upload(name, chunks).await }
    /// ```
    fn task(&self, names: &Names, work: TokenStream) -> TokenStream {
        let (first, last) = self.place_of_result();
        let Names { inputs, upload, .. } = names;
        let take = self.parameters.iter().find_map(|parameter| match parameter.origin {
            Origin::Upload(item) => {
                let taken = placed(inputs, parameter, &quote!(upload::<#item>));
                Some(quote!(let #upload = #taken;))
            }
            _ => None,
        });
        let block = quote_spanned!(last=> { #take #work });
        quote_spanned!(first=> async move #block)
    }

    /// Writes the pattern of `inputs`, or `_` if the function does not need them.
    pub(super) fn inputs_pattern(&self, names: &Names) -> TokenStream {
        let inputs = &names.inputs;
        if self.upload().is_some() {
            quote!(mut #inputs)
        } else if self.owner.is_some()
            || self.parameters.iter().any(|it| it.is_borrowed() || it.is_resume())
        {
            quote!(#inputs)
        } else {
            quote!(_)
        }
    }

    /// Writes `.resumes()` if the function has a `#[resume]` parameter.
    pub(super) fn resumes(&self) -> Option<TokenStream> {
        self.parameters.iter().any(Parameter::is_resume).then(|| quote!(.resumes()))
    }

    /// Writes `.detached().concurrency(8).needs(&["gpu", "eu"])`, as the options require.
    fn policy(&self) -> TokenStream {
        let detached = self.options.detached.as_ref().map(|_| quote!(.detached()));
        let concurrency = self.options.concurrency.map(|calls| {
            let calls = Literal::u32_unsuffixed(calls);
            quote!(.concurrency(#calls))
        });
        let tags = &self.options.needs;
        let needs = (!tags.is_empty()).then(|| quote!(.needs(&[#(#tags),*])));
        let replay = self.options.replay.as_ref().map(|(_, bytes)| {
            let bytes = Literal::u64_unsuffixed(*bytes);
            quote!(.replay(#bytes))
        });
        let resumes = self.resumes();
        quote!(#detached #concurrency #needs #replay #resumes)
    }

    /// Writes `.needs_state::<Model>()` for each state, and the same for the receiver of a method.
    fn needs(&self) -> TokenStream {
        let mut seen = Vec::new();
        let mut needs = self.needs_receiver();
        for parameter in &self.parameters {
            let Origin::State(ty) = parameter.origin else {
                continue;
            };
            let text = ty.to_token_stream().to_string();
            if !seen.contains(&text) {
                seen.push(text);
                needs.extend(quote!(.needs_state::<#ty>()));
            }
        }
        needs
    }
}

/// Unique names: an argument may have the name of the function.
pub(super) struct Names {
    pub(super) inputs: Ident,
    pub(super) arguments: Vec<Ident>,
    upload: Ident,
    sink: Ident,
}

impl Names {
    pub(super) fn new(stub: &Stub<'_>) -> Self {
        let name = |name| Ident::new(name, Span::mixed_site());
        let numbers = 0..stub.arguments.len();
        Self {
            inputs: name("inputs"),
            arguments: numbers
                .map(|n| format_ident!("argument_{n}", span = Span::mixed_site()))
                .collect(),
            upload: name("upload"),
            sink: name("sink"),
        }
    }
}

/// Writes `inputs.method()` with the span of the type of `parameter`: there the compiler reports a
/// mismatch.
pub(super) fn placed(
    inputs: &Ident,
    parameter: &Parameter<'_>,
    method: &TokenStream,
) -> TokenStream {
    let (first, last) = ends(parameter.ty);
    let mut inputs = inputs.clone();
    inputs.set_span(inputs.span().located_at(first));
    let mut nothing = Group::new(Delimiter::Parenthesis, TokenStream::new());
    nothing.set_span(last);
    let dot = quote_spanned!(first=> .);
    quote!(#inputs #dot #method #nothing)
}
