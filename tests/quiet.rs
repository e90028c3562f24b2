//! What `#[remote]` writes next to a function is silent under the lints that careful crates turn on,
//! wherever the function stands; so it is `cargo clippy` that checks most of this file. A binary by
//! itself: some of the lints are only for a whole crate.
#![deny(
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    deprecated_in_future,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    impl_trait_redundant_captures,
    keyword_idents,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_code,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences,
    future_incompatible,
    nonstandard_style,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    unused,
    let_underscore,
    warnings
)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
// No remote function can be one.
#![allow(clippy::missing_const_for_fn)]

/// Written out.
pub mod written {
    use easyremote::{Context, remote};
    use futures::{Stream, StreamExt, stream};

    /// A reading.
    #[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
    pub struct Reading(pub f64);

    #[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
    struct Private;

    /// Adds.
    #[remote]
    #[must_use]
    pub fn add(a: i64, mut b: i64) -> i64 {
        b += a;
        b
    }

    /// Divides.
    ///
    /// # Errors
    /// By zero.
    #[remote(inline)]
    pub fn divide(a: i64, b: i64) -> Result<i64, String> {
        a.checked_div(b).ok_or_else(|| "by zero".to_owned())
    }

    /// Waits.
    #[remote(timeout = "1s", detached, concurrency = 3, needs = "gpu")]
    pub async fn wait(a: u64) -> u64 {
        std::future::ready(a).await
    }

    /// Counts.
    ///
    /// # Errors
    /// Never.
    #[remote(stream)]
    pub async fn count(to: u64) -> Result<impl Iterator<Item = Result<u64, String>>, String> {
        std::future::ready(Ok((0..to).map(Ok))).await
    }

    /// Reads.
    #[remote(stream)]
    pub fn readings(#[state] first: &Reading, #[ctx] ctx: &Context) -> impl Stream<Item = Reading> {
        stream::iter([*first, Reading(if ctx.attempt() > 0 { 1.0 } else { 0.0 })])
    }

    /// Maps.
    #[remote(operator)]
    #[must_use]
    pub fn above(#[state] first: &Reading, reading: Reading, limit: f64) -> Option<Reading> {
        (reading.0 > limit + first.0).then_some(reading)
    }

    /// Leaves out.
    #[remote(operator)]
    #[must_use]
    pub fn positive(reading: &Reading) -> bool {
        reading.0 > 0.0
    }

    /// Declared.
    #[remote(operator)]
    pub fn declared_operator(reading: Reading, limits: Vec<f64>) -> f64;

    /// Sums.
    #[remote]
    pub async fn sum(start: u64, items: impl Stream<Item = u64>) -> u64 {
        items.fold(start, |sum, item| std::future::ready(sum + item)).await
    }

    /// Declared.
    #[remote(idempotent)]
    pub fn declared(a: i64) -> Result<i64, String>;

    /// Declared.
    #[remote(stream)]
    pub fn declared_stream(a: impl Stream<Item = u8>) -> impl Stream<Item = u8>;

    /// Implements.
    ///
    /// # Errors
    /// Never.
    #[remote(implements = declared)]
    pub fn implements(a: i64) -> Result<i64, String> {
        Ok(a)
    }

    /// Fails with text.
    ///
    /// # Errors
    /// Never.
    #[remote(err = "display")]
    pub fn fails(code: u8) -> std::io::Result<u8> {
        Ok(code)
    }

    /// Fails with text in all places.
    ///
    /// # Errors
    /// Never.
    #[remote(stream, err = "display")]
    pub fn fails_often()
    -> Result<impl Iterator<Item = std::io::Result<u8>>, Box<dyn std::error::Error + Send + Sync>>
    {
        Ok(std::iter::empty())
    }

    /// Takes many.
    #[remote]
    #[must_use]
    #[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
    pub fn many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> u8 {
        a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i
    }

    /// Has a long type.
    #[remote]
    #[must_use]
    #[allow(clippy::type_complexity, clippy::needless_pass_by_value)]
    pub fn complex(
        a: Option<Result<(u8, Vec<Option<String>>), (u8, Box<Option<String>>)>>,
    ) -> bool {
        a.is_some()
    }

    /// Has names of its own.
    #[remote]
    #[must_use]
    #[allow(non_snake_case)]
    pub fn Odd(Name: u8, Other_name: u8) -> u8 {
        Name ^ Other_name
    }

    /// Has private types, as the attribute says.
    #[remote]
    #[must_use]
    #[expect(private_interfaces)]
    pub fn hidden(private: Private) -> Option<Private> {
        Some(private)
    }

    /// Has private types.
    #[remote(stream)]
    #[allow(private_interfaces, private_bounds)]
    pub(crate) fn hidden_stream(items: impl Stream<Item = Private>) -> impl Stream<Item = Private> {
        items
    }

    #[remote]
    #[deprecated]
    #[must_use]
    /// Is old.
    pub fn old(a: u8) -> u8 {
        a
    }

    /// What a node keeps.
    #[derive(Debug)]
    #[non_exhaustive]
    pub struct Model {
        /// The factor.
        pub factor: f64,
    }

    /// What the node keeps.
    #[remote]
    impl Model {
        /// Adds.
        #[must_use]
        pub fn add(&self, mut a: f64, b: f64) -> f64 {
            a += b;
            a * self.factor
        }

        /// Reads.
        #[remote(stream)]
        pub fn readings(&self, items: impl Stream<Item = Reading>) -> impl Stream<Item = Reading> {
            items
        }

        /// Has private types.
        #[must_use]
        #[expect(private_interfaces)]
        pub fn hidden(&self, private: Private) -> (Private, f64) {
            (private, self.factor)
        }

        #[allow(non_snake_case)]
        fn Odd(&self, Name: u8) -> f64 {
            f64::from(Name) * self.factor
        }
    }

    /// What embeds.
    #[remote]
    pub trait Embedder {
        /// Embeds.
        async fn embed(&self, text: String) -> Vec<f32>;

        /// Repeats.
        #[remote(stream)]
        async fn repeat(&self, text: String) -> impl Stream<Item = String> {
            stream::repeat(text)
        }

        /// Has private types.
        #[allow(private_interfaces)]
        fn hidden(&self, private: Private) -> Private {
            private
        }
    }

    /// Lists some of them.
    #[must_use]
    pub fn list() -> easyremote::node::Functions {
        easyremote::functions![add, hidden, hidden_stream, Model_add, Model_hidden]
    }

    // Nobody calls, lists or exports these.
    #[remote]
    fn unused(private: Private) -> Private {
        private
    }

    #[remote(stream, timeout = "5m")]
    fn unused_stream() -> impl Stream<Item = Private> {
        stream::empty()
    }

    #[derive(Debug)]
    struct PrivateModel(u8);

    #[remote]
    impl PrivateModel {
        fn unused(&self, private: Private) -> (u8, Private) {
            (self.0, private)
        }
    }

    // Nobody calls it, which later compilers say of methods of traits too.
    #[remote]
    #[allow(dead_code)]
    trait PrivateTrait {
        fn unused(&self, private: Private) -> Private;
    }
}

macro_rules! items {
    ($name:ident) => {
        /// From a macro.
        pub mod $name {
            use easyremote::{Context, remote};
            use futures::{Stream, StreamExt, stream};

            /// A reading.
            #[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
            pub struct Reading(pub f64);

            #[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
            struct Private;

            /// Adds.
            #[remote]
            #[must_use]
            pub fn add(a: i64, mut b: i64) -> i64 {
                b += a;
                b
            }

            /// Divides.
            ///
            /// # Errors
            /// By zero.
            #[remote(inline)]
            pub fn divide(a: i64, b: i64) -> Result<i64, String> {
                a.checked_div(b).ok_or_else(|| "by zero".to_owned())
            }

            /// Waits.
            #[remote(timeout = "1s", detached, concurrency = 3, needs = "gpu")]
            pub async fn wait(a: u64) -> u64 {
                std::future::ready(a).await
            }

            /// Counts.
            ///
            /// # Errors
            /// Never.
            #[remote(stream)]
            pub async fn count(
                to: u64,
            ) -> Result<impl Iterator<Item = Result<u64, String>>, String> {
                std::future::ready(Ok((0..to).map(Ok))).await
            }

            /// Reads.
            #[remote(stream)]
            pub fn readings(
                #[state] first: &Reading,
                #[ctx] ctx: &Context,
            ) -> impl Stream<Item = Reading> {
                stream::iter([*first, Reading(if ctx.attempt() > 0 { 1.0 } else { 0.0 })])
            }

            /// Sums.
            #[remote]
            pub async fn sum(start: u64, items: impl Stream<Item = u64>) -> u64 {
                items.fold(start, |sum, item| std::future::ready(sum + item)).await
            }

            /// Declared.
            #[remote(idempotent)]
            pub fn declared(a: i64) -> Result<i64, String>;

            /// Declared.
            #[remote(stream)]
            pub fn declared_stream(a: impl Stream<Item = u8>) -> impl Stream<Item = u8>;

            /// Implements.
            ///
            /// # Errors
            /// Never.
            #[remote(implements = declared)]
            pub fn implements(a: i64) -> Result<i64, String> {
                Ok(a)
            }

            /// Fails with text.
            ///
            /// # Errors
            /// Never.
            #[remote(err = "display")]
            pub fn fails(code: u8) -> std::io::Result<u8> {
                Ok(code)
            }

            /// Fails with text in all places.
            ///
            /// # Errors
            /// Never.
            #[remote(stream, err = "display")]
            pub fn fails_often() -> Result<
                impl Iterator<Item = std::io::Result<u8>>,
                Box<dyn std::error::Error + Send + Sync>,
            > {
                Ok(std::iter::empty())
            }

            /// Takes many.
            #[remote]
            #[must_use]
            #[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
            pub fn many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> u8 {
                a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i
            }

            /// Has a long type.
            #[remote]
            #[must_use]
            #[allow(clippy::type_complexity, clippy::needless_pass_by_value)]
            pub fn complex(
                a: Option<Result<(u8, Vec<Option<String>>), (u8, Box<Option<String>>)>>,
            ) -> bool {
                a.is_some()
            }

            /// Has names of its own.
            #[remote]
            #[must_use]
            #[allow(non_snake_case)]
            pub fn Odd(Name: u8, Other_name: u8) -> u8 {
                Name ^ Other_name
            }

            /// Has private types, as the attribute says.
            #[remote]
            #[must_use]
            #[expect(private_interfaces)]
            pub fn hidden(private: Private) -> Option<Private> {
                Some(private)
            }

            /// Has private types.
            #[remote(stream)]
            #[allow(private_interfaces, private_bounds)]
            pub(crate) fn hidden_stream(
                items: impl Stream<Item = Private>,
            ) -> impl Stream<Item = Private> {
                items
            }

            #[remote]
            #[deprecated]
            #[must_use]
            /// Is old.
            pub fn old(a: u8) -> u8 {
                a
            }

            /// What a node keeps.
            #[derive(Debug)]
            #[non_exhaustive]
            pub struct Model {
                /// The factor.
                pub factor: f64,
            }

            /// What the node keeps.
            #[remote]
            impl Model {
                /// Adds.
                #[must_use]
                pub fn add(&self, mut a: f64, b: f64) -> f64 {
                    a += b;
                    a * self.factor
                }

                /// Reads.
                #[remote(stream)]
                pub fn readings(
                    &self,
                    items: impl Stream<Item = Reading>,
                ) -> impl Stream<Item = Reading> {
                    items
                }

                /// Has private types.
                #[must_use]
                #[expect(private_interfaces)]
                pub fn hidden(&self, private: Private) -> (Private, f64) {
                    (private, self.factor)
                }

                #[allow(non_snake_case)]
                fn Odd(&self, Name: u8) -> f64 {
                    f64::from(Name) * self.factor
                }
            }

            /// What embeds.
            #[remote]
            pub trait Embedder {
                /// Embeds.
                async fn embed(&self, text: String) -> Vec<f32>;

                /// Repeats.
                #[remote(stream)]
                async fn repeat(&self, text: String) -> impl Stream<Item = String> {
                    stream::repeat(text)
                }

                /// Has private types.
                #[allow(private_interfaces)]
                fn hidden(&self, private: Private) -> Private {
                    private
                }
            }

            /// Lists some of them.
            #[must_use]
            pub fn list() -> easyremote::node::Functions {
                easyremote::functions![add, hidden, hidden_stream, Model_add, Model_hidden]
            }

            // Nobody calls, lists or exports these.
            #[remote]
            fn unused(private: Private) -> Private {
                private
            }

            #[remote(stream, timeout = "5m")]
            fn unused_stream() -> impl Stream<Item = Private> {
                stream::empty()
            }

            #[derive(Debug)]
            struct PrivateModel(u8);

            #[remote]
            impl PrivateModel {
                fn unused(&self, private: Private) -> (u8, Private) {
                    (self.0, private)
                }
            }

            // Nobody calls it, which later compilers say of methods of traits too.
            #[remote]
            #[allow(dead_code)]
            trait PrivateTrait {
                fn unused(&self, private: Private) -> Private;
            }
        }
    };
}

items!(from_macro);

/// A stub can be named where the types of its function can, as the function itself can.
#[test]
fn stubs_are_listed_in_their_module() {
    let lists = [written::list(), from_macro::list()];
    for list in lists {
        let names: Vec<_> = list.names().collect();
        assert_eq!(names, ["add", "hidden", "hidden_stream", "Model.add", "Model.hidden"]);
    }
}
