//! How to test a program that uses easyremote: a file to copy from.
//!
//! It needs `easyremote`, `tokio` (with `macros` and `rt`), `futures` and `serde`. Each test has a
//! gateway with a port and an identity of its own, so they run in parallel, and none of them touches
//! what belongs to the user. See the documentation of `easyremote::testing` for all there is.

use std::sync::Mutex;
use std::time::Duration;

use easyremote::testing::{self, Mock, World};
use easyremote::{CallError, Client, Error, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

// ---- The program: in real life it is in a crate of its own. ----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum OrderError {
    OutOfStock,
}

/// What the node keeps.
struct Stock {
    cups: Mutex<u32>,
}

/// Takes cups from the stock, and says how many are left.
#[remote]
fn order(#[state] stock: &Stock, cups: u32) -> Result<u32, OrderError> {
    let mut left = stock.cups.lock().unwrap();
    *left = left.checked_sub(cups).ok_or(OrderError::OutOfStock)?;
    Ok(*left)
}

#[remote]
fn price(cups: u32) -> u32 {
    3 * cups
}

/// The temperature, for as long as somebody listens.
#[remote(stream)]
fn temperature(start: u32) -> impl Stream<Item = u32> {
    stream::iter(start..)
}

/// Orders and pays; what a client of this program does.
async fn buy(client: &Client, cups: u32) -> Result<u32, String> {
    match order::call(client, cups).await {
        Ok(_) => {}
        Err(CallError::Function(OrderError::OutOfStock)) => return Err("sold out".into()),
        Err(CallError::Remote(error)) if error.executed() == Executed::No => {
            return Err("try again".into());
        }
        Err(CallError::Remote(_)) => return Err("look into the books".into()),
    }
    let price = price::call(client, cups).timeout(Duration::from_secs(3)).await;
    price.map_err(|error| format!("no price: {:?}", error.kind()))
}

// ---- The tests of the functions: they run on a node, and are called as they will be. ----

#[tokio::test]
async fn a_function_can_be_called() -> Result<(), Error> {
    let world = World::serve(functions![price]).await?;
    assert_eq!(price::call(world.client(), 2).await?, 6);
    Ok(())
}

#[tokio::test]
async fn orders_come_out_of_the_stock_of_the_node() -> Result<(), Error> {
    let stock = Stock { cups: Mutex::new(10) };
    let world = World::builder()
        .node(|node| node.functions(functions![order]).state(stock))
        .serve()
        .await?;
    assert_eq!(order::call(world.client(), 7).await.unwrap(), 3);
    let error = order::call(world.client(), 4).await.unwrap_err();
    assert_eq!(error.function(), Some(&OrderError::OutOfStock));
    Ok(())
}

#[tokio::test]
async fn a_stream_gives_its_items_in_order() -> Result<(), Error> {
    let world = World::serve(functions![temperature]).await?;
    let first: Vec<u32> = temperature::call(world.client(), 20).take(3).try_collect().await?;
    assert_eq!(first, [20, 21, 22]);
    Ok(())
}

/// Whoever reads a stream should know what a lost node looks like.
#[tokio::test]
async fn a_stream_whose_node_is_lost_ends_with_an_error() -> Result<(), Error> {
    let world = World::builder()
        .node(|node| node.id("sensor-1").functions(functions![temperature]))
        .serve()
        .await?;
    let mut readings = temperature::call(world.client(), 20);
    assert_eq!(readings.next().await.unwrap()?, 20);

    world.kill_node("sensor-1").await;
    // What was on its way still arrives; then the error, which says how much that was.
    let mut received = 1;
    let error = loop {
        match readings.next().await.expect("an error comes before the end") {
            Ok(_) => received += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::NodeLost, received));
    Ok(())
}

// ---- The tests of code that calls: a mock answers, and the functions' bodies do not run. ----

#[tokio::test]
async fn buying_orders_first_and_asks_for_the_price_then() -> Result<(), Error> {
    let mock = Mock::builder()
        .expect::<order>((2,), Ok(8)) // exactly this call, and one of them
        .on::<price>(|(cups,)| Ok(cups * 5)) // any call, any number of them
        .serve()
        .await?;
    assert_eq!(buy(mock.client(), 2).await, Ok(10));
    assert_eq!(mock.calls::<price>(), [(2,)]);
    // Panics if a call is missing, or if there was another one.
    mock.verify();
    Ok(())
}

#[tokio::test]
async fn nothing_is_paid_for_what_was_not_ordered() -> Result<(), Error> {
    let mock = Mock::builder()
        .on::<order>(|(cups,)| {
            Err(match cups {
                1 => CallError::Function(OrderError::OutOfStock),
                2 => testing::error(ErrorKind::Overloaded, Executed::No, "all is busy").into(),
                _ => testing::error(ErrorKind::NodeLost, Executed::Maybe, "it is lost").into(),
            })
        })
        .on::<price>(|_| Ok(0))
        .times(0) // not to be called
        .serve()
        .await?;
    assert_eq!(buy(mock.client(), 1).await, Err("sold out".into()));
    assert_eq!(buy(mock.client(), 2).await, Err("try again".into()));
    assert_eq!(buy(mock.client(), 3).await, Err("look into the books".into()));
    mock.verify();
    Ok(())
}

#[tokio::test]
async fn a_price_that_does_not_come_is_not_waited_for() -> Result<(), Error> {
    let mock = Mock::builder().on::<order>(|_| Ok(0)).hang::<price>().serve().await?;
    assert_eq!(buy(mock.client(), 1).await, Err("no price: DeadlineExceeded".into()));
    mock.verify();
    Ok(())
}
