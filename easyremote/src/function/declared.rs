//! Checks at compile time that an implementation matches its declaration.
//!
//! Generated code names the types below, with the declared types and those of the implementation. A
//! difference is a compile error at the place where the type is written.

use std::marker::PhantomData;

use crate::function::outcome::Outcome;

/// A function that implements a declaration: compiles only if both have the same types.
pub trait Implements {
    /// [`TheseArguments`]
    type Arguments;
    /// [`ThisUpload`]
    type Upload;
    /// [`ThisResult`], [`ThisStream`] or [`ThisOperator`]
    type Output;
}

/// Proves that the declared arguments are those of the implementation.
pub struct TheseArguments<Declared: SameArguments<Here>, Here>(PhantomData<(Declared, Here)>);

/// Proves that the declared client stream is that of the implementation.
pub struct ThisUpload<Declared: SameUpload<Here>, Here>(PhantomData<(Declared, Here)>);

/// Proves that the declared result is that of the implementation.
pub struct ThisResult<Declared, Here>(PhantomData<(Declared, Here)>)
where
    Declared: Outcome<Value: SameResult<Here::Value>, Failure: SameFailure<Here::Failure>>,
    Here: Outcome;

/// Proves that the declared stream, its set-up and its items, is that of the implementation.
pub struct ThisStream<Setup, Item, HereSetup, HereItem>(
    PhantomData<(Setup, Item, HereSetup, HereItem)>,
)
where
    Setup: Outcome<Failure: SameSetup<HereSetup::Failure>>,
    Item: Outcome<Value: SameItem<HereItem::Value>, Failure: SameFailure<HereItem::Failure>>,
    HereSetup: Outcome,
    HereItem: Outcome;

/// Proves that the declared items of an operator, in and out, are those of the implementation.
pub struct ThisOperator<Item, Output, HereItem, HereOutput>(
    PhantomData<(Item, Output, HereItem, HereOutput)>,
)
where
    Item: SameItem<HereItem>,
    Output: SameItem<HereOutput>;

macro_rules! same {
    ($($(#[$attribute:meta])* $name:ident)*) => {$(
        $(#[$attribute])*
        pub trait $name<Here> {}

        #[diagnostic::do_not_recommend]
        impl<T> $name<T> for T {}
    )*};
}

same! {
    /// The declared arguments, if they are `Here`.
    #[diagnostic::on_unimplemented(
        message = "arguments `{Here}` differ from the declaration, which takes `{Self}`",
        label = "the declaration takes `{Self}`"
    )]
    SameArguments

    /// The declared item of the client stream, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "a client stream of `{Here}` differs from the declaration, which takes one of \
                   `{Self}`",
        label = "the declaration takes a stream of `{Self}`",
        note = "a function that takes no stream takes one of `Never`"
    )]
    SameUpload

    /// The declared result, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the result `{Here}` differs from the declaration, which returns `{Self}`",
        label = "the declaration returns `{Self}`"
    )]
    SameResult

    /// The declared error, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the error `{Here}` differs from the declaration, which has `{Self}`",
        label = "the declaration fails with `{Self}`",
        note = "what cannot fail has the error `Never`, and with `err = \"display\"` it is `Text`"
    )]
    SameFailure

    /// The declared error of the set-up, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the error `{Here}` of the set-up differs from the declaration, which has \
                   `{Self}`",
        label = "setting up the declared stream fails with `{Self}`",
        note = "what cannot fail has the error `Never`, and with `err = \"display\"` it is `Text`"
    )]
    SameSetup

    /// The declared item, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "items `{Here}` differ from the declaration, which returns `{Self}`",
        label = "the declaration returns a stream of `{Self}`"
    )]
    SameItem
}
