//! Errors: each has its kind, and tells whether the function may have run.

use std::num::NonZeroUsize;
use std::time::Duration;

use easyremote::auth::DialOptions;
use easyremote::{CallError, Client, Error, ErrorKind, Executed, Gateway};
use serde_json::json;

use crate::functions::images::{Image, Shape};
use crate::functions::inference::async_ml_inference_stream;
use crate::processes::free_address;
use crate::scenarios::received::Received;
use crate::scenarios::{Outcome, Seen, ensure};

/// No node offers the function, so it has not run.
pub(super) async fn unknown_function(client: Client) -> Outcome {
    match client.call_json("no_such_function", json!([])).await {
        Err(CallError::Remote(error)) => is(&error, ErrorKind::NoSuchFunction),
        other => Err(format!("the call returned {other:?}").into()),
    }
}

/// A second gateway cannot have the port of the first.
pub(super) async fn taken_port() -> Outcome {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    match Gateway::serve(gateway.local_addr()).await {
        Err(error) => is(&error, ErrorKind::Unavailable),
        Ok(second) => Err(format!("{} is taken twice", second.local_addr()).into()),
    }
}

/// Where no one listens, connecting fails at its timeout.
pub(super) async fn no_gateway() -> Outcome {
    let nobody = free_address()?;
    match Client::builder(nobody)
        .dial(DialOptions::new().connect_timeout(Duration::from_millis(300)))
        .connect()
        .await
    {
        Err(error) => is(&error, ErrorKind::Unavailable),
        Ok(_) => Err(format!("there is a gateway at {nobody}").into()),
    }
}

fn is(error: &Error, kind: ErrorKind) -> Outcome {
    ensure!(error.kind() == kind, "{:?} instead of {kind:?}: {error}", error.kind());
    ensure!(error.executed() == Executed::No, "it may have run: {error}");
    Ok(Seen::note(error.to_string()))
}

/// A failing item does not end the stream.
pub(super) async fn failing_item(client: Client) -> Outcome {
    let mut images: Vec<_> = (0..6).map(|i| Image::draw(Shape::Checkerboard, i)).collect();
    images[3] = Image::broken(3);
    let batch_size = NonZeroUsize::new(2).ok_or("2 is 0")?;
    let stream = async_ml_inference_stream::call(&client, images, batch_size);
    let received = Received::all(stream).await;
    let [Ok(first), Err(CallError::Function(broken)), Ok(third)] = received.items.as_slice() else {
        return Err(format!("the stream yielded {:?}", received.items).into());
    };
    ensure!(broken.image == "broken-3", "the error names `{}`", broken.image);
    let order_kept = [first.batch_id, broken.batch_id, third.batch_id] == [1, 2, 3];
    let first_item = received.first_arrival();
    Ok(Seen { first_item, order_kept: Some(order_kept), note: broken.to_string() })
}
