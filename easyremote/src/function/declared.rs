//! What the implementation of a declared function must have in common with its declaration.
//!
//! Generated code names the types below, with what is declared and what is here; a difference is an
//! error of the compiler at the place where the type is written.

use std::marker::PhantomData;

use crate::function::outcome::Outcome;

/// A function that implements a declared one: it compiles only if it has the same types.
pub trait Implements {
    /// [`TheseArguments`]
    type Arguments;
    /// [`ThisUpload`]
    type Upload;
    /// [`ThisResult`] or [`ThisStream`]
    type Output;
}

/// The declared arguments are those that are here.
pub struct TheseArguments<Declared: SameArguments<Here>, Here>(PhantomData<(Declared, Here)>);

/// The declared client stream is the one that is here.
pub struct ThisUpload<Declared: SameUpload<Here>, Here>(PhantomData<(Declared, Here)>);

/// The declared result is the one that is here.
pub struct ThisResult<Declared, Here>(PhantomData<(Declared, Here)>)
where
    Declared: Outcome<Value: SameResult<Here::Value>, Failure: SameFailure<Here::Failure>>,
    Here: Outcome;

/// The declared stream, its set-up and its items, is the one that is here.
pub struct ThisStream<Setup, Item, HereSetup, HereItem>(
    PhantomData<(Setup, Item, HereSetup, HereItem)>,
)
where
    Setup: Outcome<Failure: SameSetup<HereSetup::Failure>>,
    Item: Outcome<Value: SameItem<HereItem::Value>, Failure: SameFailure<HereItem::Failure>>,
    HereSetup: Outcome,
    HereItem: Outcome;

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

    /// What is declared as the item of the client stream, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "a client stream of `{Here}` differs from the declaration, which takes one of `{Self}`",
        label = "the declaration takes a stream of `{Self}`",
        note = "a function that takes no stream takes one of `Never`"
    )]
    SameUpload

    /// The declared result, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the result `{Here}` differs from the declaration, which gives `{Self}`",
        label = "the declaration gives `{Self}`"
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
        message = "the error `{Here}` of the set-up differs from the declaration, which has `{Self}`",
        label = "setting up the declared stream fails with `{Self}`",
        note = "what cannot fail has the error `Never`, and with `err = \"display\"` it is `Text`"
    )]
    SameSetup

    /// What is declared as the item, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "items `{Here}` differ from the declaration, which gives `{Self}`",
        label = "the declaration gives a stream of `{Self}`"
    )]
    SameItem
}
