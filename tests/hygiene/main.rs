//! What `#[remote]` writes uses nothing that happens to be in scope where it is used. A binary by
//! itself: the crate has no prelude, and its functions are counted.
#![no_implicit_prelude]

use ::core::assert_eq;
use ::core::iter::Iterator;
use ::core::option::Option::Some;
use ::core::result::Result::{Err, Ok};

/// Everything that generated code could reach for by accident.
#[allow(non_camel_case_types, dead_code)]
mod shadowed {
    pub(crate) struct Arguments;
    pub(crate) struct Box;
    pub(crate) struct Call;
    pub(crate) struct Client;
    pub(crate) struct Context;
    pub(crate) struct Descriptor;
    pub(crate) struct Displayed;
    pub(crate) struct Entry;
    pub(crate) struct Err;
    pub(crate) struct Fn;
    pub(crate) struct FnOnce;
    pub(crate) struct Functions;
    pub(crate) struct Future;
    pub(crate) struct Handler;
    pub(crate) struct Home;
    pub(crate) struct Implements;
    pub(crate) struct Inputs;
    pub(crate) struct Instance;
    pub(crate) struct Item;
    pub(crate) struct Itself;
    pub(crate) struct Kind;
    pub(crate) struct Listed;
    pub(crate) struct Local;
    pub(crate) struct Never;
    pub(crate) struct None;
    pub(crate) struct Ok;
    pub(crate) struct Option;
    pub(crate) struct Output;
    pub(crate) struct PhantomData;
    pub(crate) struct Plain;
    pub(crate) struct Remote;
    pub(crate) struct RemoteStream;
    pub(crate) struct RemoteUnary;
    pub(crate) struct Result;
    pub(crate) struct Send;
    pub(crate) struct Served;
    pub(crate) struct Setup;
    pub(crate) struct Signature;
    pub(crate) struct SignatureCell;
    pub(crate) struct Sink;
    pub(crate) struct Sized;
    pub(crate) struct Some;
    pub(crate) struct State;
    pub(crate) struct StreamCall;
    pub(crate) struct String;
    pub(crate) struct Text;
    pub(crate) struct TheseArguments;
    pub(crate) struct ThisResult;
    pub(crate) struct Sync;
    pub(crate) struct T;
    pub(crate) struct Upload;
    pub(crate) struct Vec;
    pub(crate) struct bool;
    pub(crate) struct i64;
    pub(crate) struct str;
    pub(crate) struct u32;
    pub(crate) struct u64;
    pub(crate) fn asynchronous() {}
    pub(crate) fn blocking() {}
    pub(crate) fn call() {}
    pub(crate) fn call_with() {}
    pub(crate) fn function() {}
    pub(crate) fn functions() {}
    pub(crate) fn handler() {}
    pub(crate) fn only() {}
    pub(crate) fn written() {}
    pub(crate) fn inputs() {}
    pub(crate) fn instance() {}
    pub(crate) fn receiver() {}
    pub(crate) fn sink() {}
    pub(crate) fn stream_call() {}
    pub(crate) fn stream_call_with() {}
    pub(crate) fn upload() {}
    pub(crate) const CELL: () = ();
    pub(crate) const DESCRIPTOR: () = ();
    pub(crate) mod __private {}
    pub(crate) mod core {}
    pub(crate) mod easyremote {}
    pub(crate) mod std {}
}

/// Shadows `file!` and `line!` up to the end of the file.
#[allow(unused_macros)]
macro_rules! file {
    () => {
        ::core::compile_error!("generated code reached for `file!`")
    };
}
#[allow(unused_macros)]
macro_rules! line {
    () => {
        ::core::compile_error!("generated code reached for `line!`")
    };
}

/// Every kind of function, under the names above.
mod kinds {
    use ::core::iter::Iterator;
    use ::easyremote::remote;
    use ::futures::{Stream, stream};

    #[allow(unused_imports)]
    use super::shadowed::*;

    type Int = ::core::primitive::i64;
    type Text = ::std::string::String;
    type Failure = Text;
    type MyResult<T> = ::core::result::Result<T, Failure>;
    type List = ::std::vec::Vec<Int>;
    #[remote]
    pub(crate) fn nothing() {}

    /// Has a doc comment.
    #[remote(timeout = "1h")]
    pub(crate) fn add(client: Int, argument_0: Int, mut add: Int) -> Int {
        add += argument_0;
        client + add
    }

    #[remote(inline, name = "hygiene.tiny")]
    pub(crate) fn tiny(a: Int) -> MyResult<Int> {
        ::core::result::Result::Ok(a)
    }

    #[remote]
    pub(crate) async fn wait(list: List) -> List {
        list
    }

    #[remote]
    pub(crate) async fn fallible_wait(a: Int) -> MyResult<()> {
        match a {
            0 => ::core::result::Result::Err(::core::convert::From::from("zero")),
            _ => ::core::result::Result::Ok(()),
        }
    }

    #[remote(operator)]
    pub(crate) fn doubled(item: Int, inputs: Int, argument_0: Text) -> ::core::option::Option<Int> {
        ::core::option::Option::Some(2 * item + inputs + argument_0.len() as Int)
    }

    #[remote(operator)]
    pub(crate) fn plain(a: Int) -> Int {
        a
    }

    #[remote(operator)]
    pub(crate) fn passes(a: &Int) -> ::core::primitive::bool {
        *a > 0
    }

    #[remote(stream)]
    pub(crate) fn iterator(a: Int) -> impl Iterator<Item = Int> {
        ::core::iter::once(a)
    }

    #[remote(stream)]
    pub(crate) fn fallible_iterator(a: Int) -> MyResult<impl Iterator<Item = Int>> {
        ::core::result::Result::Ok(::core::iter::once(a))
    }

    #[remote(stream)]
    pub(crate) async fn async_iterator(a: Int) -> impl Iterator<Item = MyResult<Int>> {
        ::core::iter::once(::core::result::Result::Ok(a))
    }

    #[remote(stream)]
    pub(crate) async fn fallible_async_iterator(a: Int) -> MyResult<impl Iterator<Item = Int>> {
        ::core::result::Result::Ok(::core::iter::once(a))
    }

    #[remote(stream)]
    pub(crate) fn boxed_iterator(
        a: Int,
    ) -> ::std::boxed::Box<dyn Iterator<Item = Int> + ::core::marker::Send> {
        ::std::boxed::Box::new(::core::iter::once(a))
    }

    #[remote(stream)]
    pub(crate) fn stream_of(a: Int) -> impl Stream<Item = Int> {
        stream::iter([a])
    }

    #[remote(stream)]
    pub(crate) fn fallible_stream(a: Int) -> MyResult<impl Stream<Item = MyResult<Int>>> {
        ::core::result::Result::Ok(stream::iter([::core::result::Result::Ok(a)]))
    }

    #[remote(stream)]
    pub(crate) async fn async_stream(a: Int) -> impl Stream<Item = Int> {
        stream::iter([a])
    }

    #[remote(stream)]
    pub(crate) async fn fallible_async_stream(a: Int) -> MyResult<stream::BoxStream<'static, Int>> {
        ::core::result::Result::Ok(::std::boxed::Box::pin(stream::iter([a])))
    }
}

/// Declarations, implementations and options, under the names above.
mod options {
    use ::core::iter::Iterator;
    use ::easyremote::remote;
    use ::futures::{Stream, stream};

    #[allow(unused_imports)]
    use super::shadowed::*;

    type Int = ::core::primitive::i64;
    type MyResult<T> = ::core::result::Result<T, ::std::string::String>;

    #[remote(idempotent, timeout = "1s")]
    pub(crate) fn declared(a: Int, name: ::std::string::String) -> MyResult<Int>;

    #[remote(stream)]
    pub(crate) async fn declared_stream(a: Int) -> MyResult<impl Stream<Item = Int>>;

    #[remote]
    pub(crate) async fn declared_upload(upload: impl Stream<Item = Int>) -> Int;

    #[remote(implements = declared, detached, concurrency = 7, needs = "gpu, eu")]
    pub(crate) async fn implemented(a: Int, call: ::std::string::String) -> MyResult<Int> {
        let _ = call;
        ::core::result::Result::Ok(a)
    }

    #[remote(stream, implements = self::declared_stream)]
    pub(crate) fn implemented_stream(a: Int) -> MyResult<impl Iterator<Item = Int>> {
        ::core::result::Result::Ok(::core::iter::once(a))
    }

    #[remote(implements = super::options::declared_upload)]
    pub(crate) async fn implemented_upload(client: impl Stream<Item = Int>) -> Int {
        let _ = client;
        7
    }

    #[remote(err = "display", inline)]
    pub(crate) fn text() -> MyResult<()> {
        ::core::result::Result::Ok(())
    }

    #[remote(err = "display", stream)]
    pub(crate) fn texts() -> MyResult<impl Stream<Item = MyResult<Int>>> {
        ::core::result::Result::Ok(stream::empty())
    }
}

/// What is not sent, and what is sent item by item, under the names above.
mod beside_arguments {
    use ::core::iter::Iterator;
    use ::easyremote::remote;
    use ::futures::{Stream, StreamExt, stream};

    #[allow(unused_imports)]
    use super::shadowed::*;

    type Int = ::core::primitive::i64;
    type MyResult<T> = ::core::result::Result<T, Int>;

    pub(crate) struct Model(Int);

    #[remote]
    pub(crate) fn state(#[state] inputs: &Model, a: Int) -> Int {
        inputs.0 + a
    }

    #[remote(inline)]
    pub(crate) fn context(#[ctx] context: &::easyremote::Context) {
        let _ = context;
    }

    #[remote]
    pub(crate) async fn both(
        #[ctx] ctx: &::easyremote::Context,
        a: Int,
        #[state] model: &Model,
    ) -> MyResult<Int> {
        let _ = ctx;
        ::core::result::Result::Ok(model.0 + a)
    }

    #[remote(stream)]
    pub(crate) fn iterator(#[state] model: &Model, a: Int) -> impl Iterator<Item = Int> {
        (0..a).map(move |b| model.0 + b)
    }

    #[remote(stream)]
    pub(crate) async fn async_iterator(
        #[state] model: &Model,
    ) -> MyResult<impl Iterator<Item = Int>> {
        ::core::result::Result::Ok(::core::iter::once(&model.0).copied())
    }

    #[remote(stream)]
    pub(crate) fn stream_of(#[state] model: &Model, sink: Int) -> impl Stream<Item = Int> {
        stream::iter([sink]).map(move |a| a + model.0)
    }

    #[remote]
    pub(crate) async fn upload(upload: impl Stream<Item = Int>, call: Int) -> Int {
        upload.fold(call, |a, b| async move { a + b }).await
    }

    #[remote(stream)]
    pub(crate) fn duplex(client: impl Stream<Item = Int>) -> impl Stream<Item = Int> {
        client
    }

    #[remote(stream)]
    pub(crate) async fn everything(
        #[state] model: &Model,
        argument_0: Int,
        inputs: impl Stream<Item = MyResult<Int>>,
        #[ctx] ctx: &::easyremote::Context,
    ) -> MyResult<impl Stream<Item = MyResult<Int>>> {
        let _ = (model, ctx, argument_0);
        ::core::result::Result::Ok(inputs)
    }
}

mod methods;

/// The library under another name, as a framework would re-export it.
mod framework {
    pub(crate) use ::easyremote as remoting;
}

/// Functions that a macro writes, with names, types and the path to the library from outside.
macro_rules! define {
    ($name:ident, $stream:ident, $argument:ident: $type:ty, $krate:path) => {
        #[::easyremote::remote(crate = $krate)]
        pub(crate) fn $name($argument: $type, other: $type) -> $type {
            $argument + other
        }
        #[::easyremote::remote(stream, crate = $krate)]
        pub(crate) fn $stream(
            client: $type,
        ) -> ::core::result::Result<impl ::core::iter::Iterator<Item = $type>, ()> {
            ::core::result::Result::Ok(::core::iter::once(client))
        }
    };
}

/// Here `easyremote` is found in no other way than by the path that is given.
mod renamed {
    #[allow(unused_imports)]
    use super::shadowed::*;

    define!(sum, one, other: ::core::primitive::u8, crate::framework::remoting);
    define!(long_sum, long_one, client: ::core::primitive::u128, super::framework::remoting);

    #[super::framework::remoting::remote(crate = crate::framework::remoting)]
    pub(crate) async fn wait() {}

    #[super::framework::remoting::remote(crate = crate::framework::remoting)]
    pub(crate) async fn declared() -> ::core::result::Result<(), ()>;

    #[super::framework::remoting::remote(crate = super::framework::remoting, implements = declared)]
    pub(crate) fn implemented() -> ::core::result::Result<(), ()> {
        ::core::result::Result::Ok(())
    }

    #[super::framework::remoting::remote(stream, crate = crate::framework::remoting)]
    pub(crate) fn back(
        #[state] _: &::core::primitive::u8,
        items: impl ::futures::Stream<Item = ::core::primitive::u8>,
    ) -> impl ::futures::Stream<Item = ::core::primitive::u8> {
        items
    }
}

#[::core::prelude::v1::test]
fn functions_stay_callable_locally() {
    assert_eq!(kinds::add(1, 2, 3), 6);
    assert_eq!(kinds::tiny(1), Ok(1));
    assert_eq!(kinds::iterator(7).next(), Some(7));
    assert_eq!(kinds::boxed_iterator(7).next(), Some(7));
    assert_eq!(renamed::sum(1, 2), 3);
    match renamed::long_one(4) {
        Ok(mut one) => assert_eq!(one.next(), Some(4)),
        Err(()) => ::core::panic!("it never fails"),
    }
}

#[::core::prelude::v1::test]
fn every_kind_can_be_listed() {
    let functions = ::easyremote::functions![
        kinds::nothing,
        kinds::add,
        kinds::tiny,
        kinds::wait,
        kinds::fallible_wait,
        kinds::doubled,
        kinds::plain,
        kinds::passes,
        kinds::iterator,
        kinds::fallible_iterator,
        kinds::async_iterator,
        kinds::fallible_async_iterator,
        kinds::boxed_iterator,
        kinds::stream_of,
        kinds::fallible_stream,
        kinds::async_stream,
        kinds::fallible_async_stream,
    ];
    let beside_arguments = ::easyremote::functions![
        beside_arguments::state,
        beside_arguments::context,
        beside_arguments::both,
        beside_arguments::iterator,
        beside_arguments::async_iterator,
        beside_arguments::stream_of,
        beside_arguments::upload,
        beside_arguments::duplex,
        beside_arguments::everything,
    ];
    let renamed = framework::remoting::functions![
        renamed::sum,
        renamed::one,
        renamed::long_sum,
        renamed::long_one,
        renamed::wait,
        renamed::back,
        renamed::implemented,
    ];
    let options = ::easyremote::functions![
        options::implemented,
        options::implemented_stream,
        options::implemented_upload,
        options::text,
        options::texts,
    ];
    let blocks = ::easyremote::functions![methods::renamed::Model, methods::Instance];
    let listed = [functions, beside_arguments, renamed, options, blocks];
    let listed: ::core::primitive::usize = listed.iter().map(|list| list.names().count()).sum();
    assert_eq!(framework::remoting::functions!().names().count(), listed);
    let _: ::easyremote::node::Functions = ::easyremote::functions![
        methods::Instance_add,
        methods::ListedServer<methods::Instance>,
        methods::renamed::EmbedderServer<methods::renamed::Model>,
    ];
}

/// Each has the types that its caller expects, whatever else is called like them.
#[allow(dead_code)]
async fn calls(client: ::easyremote::Client) {
    use ::core::primitive::{i64, u8};
    use ::core::result::Result;
    use ::easyremote::{CallError, Error};
    use ::futures::StreamExt;

    let _: Result<(), Error> = kinds::nothing::call(&client).await;
    let _: Result<i64, Error> = kinds::add::call(&client, 1, 2, 3).await;
    let _: Result<i64, CallError<::std::string::String>> = kinds::tiny::call(&client, 1).await;
    let _: Result<u8, Error> = renamed::sum::call(&client, 1, 2).await;
    let _: Result<i64, Error> = beside_arguments::state::call(&client, 1).await;
    let name = ::std::string::String::new();
    let _: Result<i64, CallError<_>> = options::declared::call(&client, 1, name).await;
    let _: Result<(), Error> = options::text::call(&client).await;
    let _: Result<(), Error> = beside_arguments::context::call(&client).await;
    let numbers = ::futures::stream::iter([1_i64]);
    let _: Result<i64, Error> = beside_arguments::upload::call(&client, numbers, 1).await;
    let handle = methods::Instance::remote(&client);
    let _: Result<i64, Error> = handle.add(1, methods::Instance(2), 3).await;
    let _: Result<methods::Instance, CallError<i64>> = handle.instance("a").wait(1, 2).await;
    let _: Result<(), CallError<i64>> = methods::ListedClient::new(&client).tiny(methods::T).await;
    let _: Result<u8, Error> = methods::renamed::Model::remote(&client).embed(1, 2).await;
    let _: Result<u8, Error> = methods::renamed::EmbedderClient::new(&client).embed(1).await;
    let mut items = kinds::fallible_stream::call(&client, 1);
    if let Some(Ok(item)) = items.next().await {
        let _: i64 = item;
    }
    if let Ok(mut opened) = kinds::fallible_async_stream::call(&client, 1).open().await {
        let _ = opened.next().await;
    }
}
