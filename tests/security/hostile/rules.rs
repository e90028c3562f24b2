//! Both ends of a multiplexed stream keep its rules and check the other end; traced calls share it too.

use common::hostile::attacker::close_of;
use common::hostile::impostor::Impostor;
use common::hostile::mux::{accept, read};
use common::hostile::wire::PROTOCOL;
use common::soon;
use easyremote::{Client, ErrorKind, Executed};

use super::functions::add;

#[tokio::test]
async fn a_gateway_that_breaks_a_clients_mux_loses_the_connection() {
    for bytes in [&[0; 12][..], &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0], &[0xff; 100]] {
        let impostor = Impostor::start();
        let builder = Client::builder(&*impostor.ticket("erc_"));
        let (client, connection) = tokio::join!(builder.connect(), impostor.welcome());
        let client = client.unwrap();
        let calling = tokio::spawn(add::call(&client, 1, 2));
        let (mut send, mut recv) = accept(&connection).await;
        soon(read(&mut recv)).await.unwrap();
        send.write_all(bytes).await.unwrap();
        let error = soon(calling).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
        assert_eq!(close_of(&connection).await.0, PROTOCOL, "{:?}", &bytes[..4]);
    }
}

#[tokio::test]
async fn a_traced_call_shares_the_mux() {
    let impostor = Impostor::start();
    let builder = Client::builder(&*impostor.ticket("erc_"));
    let (client, connection) = tokio::join!(builder.connect(), impostor.welcome());
    let client = client.unwrap();
    let plain = tokio::spawn(add::call(&client, 1, 2));
    let (_send, mut recv) = accept(&connection).await;
    let (first, _) = soon(read(&mut recv)).await.unwrap();
    let traced = tokio::spawn(add::call(&client, 1, 2).traced());
    tokio::select! {
        message = soon(read(&mut recv)) => assert_ne!(message.unwrap().0, first),
        stream = connection.accept_bi() => panic!("it has a stream of its own: {stream:?}"),
    }
    plain.abort();
    traced.abort();
    // Both are given up there.
    for _ in 0..2 {
        assert!(soon(read(&mut recv)).await.unwrap().1.is_empty());
    }
}
