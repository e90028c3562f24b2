//! An argument may have any name, the ones that generated code has in mind included.
#![deny(warnings)]

use easyremote::{Client, Error, functions, remote};

#[remote]
fn tell(client: String, call: String) -> String {
    client + &call
}

#[remote]
async fn twice(twice: u8) -> u8 {
    twice * 2
}

#[remote(inline)]
fn numbered(argument_1: u8, argument_0: u8) -> u8 {
    argument_1 - argument_0
}

#[remote(stream)]
fn items(private: u8, mut function: u8) -> Result<impl Iterator<Item = u8>, String> {
    function += private;
    Ok(0..function)
}

#[remote]
fn odd(_unused: u8, self_: u8, größe: u8) -> u8 {
    self_ + größe
}

#[remote]
#[allow(clippy::too_many_arguments)]
fn sixteen(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: u8,
    n: u8,
    o: u8,
    p: u8,
) -> u8 {
    a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p
}

async fn callers(client: &Client) -> Result<(), Error> {
    let _: String = tell::call(client, "a".to_owned(), "b".to_owned()).await?;
    let _: u8 = twice::call(client, 1).await?;
    let _: u8 = numbered::call(client, 2, 1).await?;
    let _: u8 = odd::call(client, 1, 2, 3).await?;
    Ok(())
}

fn main() {
    let _ = callers;
    let _ = functions![tell, twice, numbered, items, odd, sixteen];
    assert_eq!(numbered(2, 1), 1);
    assert_eq!(odd(0, 1, 2), 3);
}
