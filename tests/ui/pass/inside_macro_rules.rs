//! A macro may write the function, in part or in whole.
#![deny(warnings)]

use easyremote::{CallError, Client, Error, functions, remote};
use futures::StreamExt;

macro_rules! arithmetic {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis $name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block
    )*) => {$(
        $(#[$attribute])*
        #[remote]
        $visibility fn $name($($argument: $type),*) -> $result $body
    )*};
}

arithmetic! {
    /// Adds.
    pub add(a: i64, b: i64) -> i64 { a + b }
    #[must_use]
    divide(a: i64, b: i64) -> Result<i64, String> { a.checked_div(b).ok_or("by zero".to_owned()) }
    bytes(client: Vec<u8>) -> Vec<u8> { client }
}

/// The arguments are the macro's own, and so is what stands in the body.
macro_rules! scale {
    ($name:ident, $wire:literal, $timeout:literal, $stub:ident, $factor:expr) => {
        #[remote(name = $wire, timeout = $timeout, stub = $stub)]
        fn $name(value: f64, client: bool) -> f64 {
            if client { value * $factor } else { value }
        }
    };
}

scale!(double, "scale.double", "30s", Double, 2.0);
scale!(triple, "scale.triple", "1m", Triple, 1.0 + 2.0);

macro_rules! stream_of {
    ($name:ident, $item:ty, $error:ty, $($list:tt)*) => {
        #[remote(stream)]
        fn $name() -> Result<impl Iterator<Item = $item>, $error> {
            Ok([$($list)*].into_iter())
        }
    };
    ($name:ident -> $stream:ty, $body:expr) => {
        #[remote(stream)]
        fn $name() -> $stream {
            $body
        }
    };
}

stream_of!(letters, char, String, 'a', 'b');
stream_of!(results, Result<u8, String>, String, Ok(1), Err("two".to_owned()));
stream_of!(numbers -> impl Iterator<Item = u8>, 0..3);
stream_of!(boxed -> Box<dyn Iterator<Item = Result<u8, String>> + Send>, Box::new((0..3).map(Ok)));

/// The whole function is one fragment.
macro_rules! pass_on {
    ($function:item) => {
        $function
    };
}

pass_on! {
    #[remote]
    async fn wait(n: u64) -> u64 {
        n
    }
}

macro_rules! block {
    ($type:ident, $method:ident($argument:ident: $of:ty) -> $result:ty $body:block) => {
        struct $type;

        #[remote]
        impl $type {
            fn $method(&self, $argument: $of) -> $result $body
        }
    };
}

block!(Model, embed(instance: Vec<u8>) -> u64 { instance.len() as u64 });

macro_rules! service {
    ($name:ident, $type:ty, $item:ty) => {
        #[remote]
        trait $name {
            async fn first(&self, item: $item) -> Option<$item> {
                Some(item)
            }
            #[remote(stream)]
            async fn items(&self) -> Result<impl futures::Stream<Item = $item>, $item>;
        }

        impl $name for $type {
            async fn items(&self) -> Result<impl futures::Stream<Item = $item>, $item> {
                Ok(futures::stream::empty())
            }
        }
    };
}

service!(Service, Model, String);

pass_on! {
    #[remote(stub = SecondClient, name = "second")]
    impl Second {
        fn one(&self) -> u8 {
            1
        }
    }
}

struct Second;

pass_on! {
    #[remote]
    trait Passed {
        fn one(&self) -> u8;
    }
}

impl Passed for Second {
    fn one(&self) -> u8 {
        2
    }
}

async fn callers(client: Client) {
    let _: Result<u64, Error> = Model::remote(&client).embed(vec![1]).await;
    let _: Result<Option<String>, Error> = ServiceClient::new(&client).first("x".into()).await;
    let _: Result<u8, Error> = PassedClient::new(&client).one().await;
    let _: Result<i64, Error> = add::call(&client, 1, 2).await;
    let _: Result<i64, CallError<String>> = divide::call(&client, 1, 0).await;
    let _: Result<f64, Error> = Double::call(&client, 1.0, true).await;
    let _: Option<Result<char, CallError<String>>> = letters::call(&client).next().await;
    let _: Option<Result<u8, CallError<String>>> = boxed::call(&client).next().await;
}

fn main() {
    let _ = callers;
    let _ = functions![add, divide, bytes, Double, Triple, letters, results, numbers, boxed, wait];
    let _ = functions![Model, ServiceServer<Model>, Second, PassedServer<Second>];
    // A list may come from a macro too.
    macro_rules! list {
        ($($name:ident)*) => { functions![$($name),*] };
    }
    let _ = list!(add divide);
    assert_eq!(triple(2.0, true), 6.0);
}
