//! `stub` where a type or a module has the name already, and what needs no `stub`.
#![deny(warnings)]

use easyremote::{Client, Error, functions, remote};

mod add {
    pub fn one(a: i64) -> i64 {
        super::add(a, 1)
    }
}

#[remote(stub = Add)]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(stub = Length)]
fn str(text: String) -> u64 {
    text.len() as u64
}

// Traits, macros, values and generic parameters of the same name are no trouble where they are.
mod elsewhere {
    #[allow(non_camel_case_types)]
    pub trait count {}
    pub enum Kind {
        Count,
    }
}

macro_rules! count {
    () => {
        3
    };
}

#[remote]
fn count() -> u64 {
    let _: fn(elsewhere::Kind) = |elsewhere::Kind::Count| {};
    count!()
}

async fn callers(client: Client) -> Result<(), Error> {
    let _: i64 = Add::call(&client, 1, 2).await?;
    let _: u64 = Length::call(&client, "x".to_owned()).await?;
    let _: u64 = count::call(&client).await?;
    Ok(())
}

fn main() {
    let _ = callers;
    let _ = functions![Add, Length, count];
    assert_eq!(add::one(2), 3);
}
