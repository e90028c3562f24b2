//! Functions, arguments, stubs and modules may be called like keywords.
#![deny(warnings)]

use easyremote::{Client, Error, functions, remote};

mod r#mod {
    use easyremote::remote;

    #[remote]
    pub fn r#type(r#match: u8, r#fn: u8) -> u8 {
        r#match + r#fn
    }

    #[remote(stream, stub = r#enum)]
    pub fn r#loop(mut r#in: u8) -> impl Iterator<Item = u8> {
        r#in += 1;
        0..r#in
    }
}

use r#mod::{r#enum, r#loop, r#type};

#[remote(name = "async")]
async fn r#async(r#await: String) -> String {
    r#await
}

async fn callers(client: Client) -> Result<(), Error> {
    let _: u8 = r#type::call(&client, 1, 2).await?;
    let _: String = r#async::call(&client, "x".to_owned()).await?;
    let _ = r#enum::call(&client, 1);
    Ok(())
}

fn main() {
    let _ = callers;
    let _ = functions![r#type, r#enum, r#async];
    assert_eq!(r#type(1, 2), 3);
    assert_eq!(r#loop(1).count(), 2);
}
