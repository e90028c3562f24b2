//! Calls that wait for a connection: they do not take memory without limit.

use std::time::Duration;

use bytes::Bytes;
use common::{World, patient, soon};
use easyremote::{ErrorKind, Executed, functions, remote};

#[remote]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

#[tokio::test]
async fn so_many_calls_wait_for_a_connection_and_no_more() {
    let (world, _node, _) = World::with(functions![length]).await;
    // So long they wait: all have to be there before the first gives up.
    let builder = world.client_builder().dial(patient(Duration::from_secs(6)));
    let client = soon(builder.connect()).await.unwrap();
    assert_eq!(soon(length::call(&client, Bytes::new())).await.unwrap(), 0);
    soon(world.gateway.shutdown()).await;

    let long = Bytes::from(vec![0; 20 << 20]);
    let alone = soon(length::call(&client, long.clone())).await.unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Unavailable, "it waited: {alone}");

    let calls: Vec<_> =
        (0..1_100).map(|_| tokio::spawn(length::call(&client, Bytes::new()))).collect();
    let mut overloaded = 0;
    for call in calls {
        let error = soon(call).await.unwrap().unwrap_err();
        assert_eq!(error.executed(), Executed::No);
        match error.kind() {
            ErrorKind::Unavailable => {}
            ErrorKind::Overloaded => {
                assert!(error.retry_after().is_some() && error.is_retryable(), "{error}");
                overloaded += 1;
            }
            _ => panic!("{error}"),
        }
    }
    assert_eq!(overloaded, 1_100 - 1_024);

    let long = (0..3).map(|_| tokio::spawn(length::call(&client, long.slice(..3 << 20))));
    let mut kinds = Vec::new();
    for call in long.collect::<Vec<_>>() {
        kinds.push(soon(call).await.unwrap().unwrap_err().kind());
    }
    use ErrorKind::{Overloaded, Unavailable};
    assert_eq!(kinds, [Unavailable, Unavailable, Overloaded], "8 MiB are room for two of these");
}
