//! Methods and traits, under names that generated code could reach for by accident. Some types here
//! have names that it could have for its own.

use ::core::iter::Iterator;
use ::easyremote::remote;
use ::futures::{Stream, StreamExt, stream};

#[allow(unused_imports)]
use super::shadowed::*;

type Int = ::core::primitive::i64;
type MyResult<T> = ::core::result::Result<T, Int>;

#[derive(::serde::Serialize, ::serde::Deserialize)]
pub(crate) struct Instance(pub(crate) Int);

#[remote]
impl Instance {
    pub(crate) fn add(&self, client: Int, argument_0: Self, handle: Int) -> Int {
        self.0 + client + argument_0.0 + handle
    }

    pub(crate) async fn wait(&self, inputs: Int, functions: Int) -> MyResult<Self> {
        ::core::result::Result::Ok(Self(inputs + functions))
    }

    #[remote(stream)]
    pub(crate) fn iterator(&self, instance: Int) -> impl Iterator<Item = Int> {
        ::core::iter::once(self.0 + instance)
    }

    #[remote(stream)]
    pub(crate) async fn everything(
        &self,
        #[state] _state: &Int,
        #[ctx] _ctx: &::easyremote::Context,
        upload: impl Stream<Item = MyResult<Int>>,
    ) -> MyResult<impl Stream<Item = MyResult<Int>>> {
        ::core::result::Result::Ok(upload)
    }
}

#[remote]
pub(crate) trait Listed {
    async fn embed(&self, sink: Int) -> Int;

    async fn nothing(&self, mut call: Int) -> Int {
        call += 1;
        self.embed(call).await
    }

    #[remote(inline)]
    fn tiny(&self, receiver: T) -> MyResult<()>;

    #[remote(stream)]
    fn stream_of(&self, items: impl Stream<Item = Int>) -> impl Stream<Item = Int> {
        items.map(|item| 2 * item)
    }

    #[remote(stream)]
    async fn late(&self) -> MyResult<impl Stream<Item = Int>>;
}

/// Called like a type parameter.
#[derive(::serde::Serialize, ::serde::Deserialize)]
pub(crate) struct T;

impl Listed for Instance {
    async fn embed(&self, sink: Int) -> Int {
        self.0 + sink
    }

    fn tiny(&self, _: T) -> MyResult<()> {
        ::core::result::Result::Ok(())
    }

    async fn late(&self) -> MyResult<impl Stream<Item = Int>> {
        ::core::result::Result::Ok(stream::iter([self.0]))
    }
}

/// A type and a trait that a macro writes, with names, types and the path to the library from outside.
macro_rules! define_methods {
    ($name:ident, $of:ident, $method:ident($argument:ident: $type:ty), $krate:path) => {
        pub(crate) struct $name;

        #[::easyremote::remote(crate = $krate)]
        impl $name {
            pub(crate) fn $method(&self, $argument: $type, other: $type) -> $type {
                $argument + other
            }
        }

        #[::easyremote::remote(crate = $krate)]
        pub(crate) trait $of {
            async fn $method(&self, $argument: $type) -> $type {
                $argument
            }
        }

        impl $of for $name {}
    };
}

/// Here `easyremote` is found in no other way than by the path that is given.
pub(crate) mod renamed {
    #[allow(unused_imports)]
    use super::super::shadowed::*;

    define_methods!(
        Model,
        Embedder,
        embed(other: ::core::primitive::u8),
        crate::framework::remoting
    );
}
