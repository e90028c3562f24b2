//! Stateless resets: a gateway tells those who were connected to it before it was started again, and
//! nobody of the connections of another one.

use std::net::SocketAddr;
use std::time::Duration;

use common::hostile::attacker::{Attacker, connect, endpoint_at};
use common::soon;
use easyremote::Gateway;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Bytes of a connection id of a gateway, and of the token of a reset.
const ID: usize = 12;
const TOKEN: usize = 16;

async fn gateway(address: impl ToString, state: &std::path::Path) -> Gateway {
    soon(common::gateway_at(address).state_dir(state).serve()).await.unwrap()
}

/// The id that `gateway` has given to a connection, as somebody on the path sees it.
async fn overheard(gateway: SocketAddr) -> Vec<u8> {
    let (front, back) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let address = front.local_addr().unwrap();
    let connecting = tokio::spawn(async move {
        let endpoint = endpoint_at("127.0.0.1");
        let connection = connect(&endpoint, address, quinn::TransportConfig::default()).await;
        Attacker { endpoint, connection: connection.unwrap() }
    });
    let (mut client, mut id) = (None, Vec::new());
    let (mut there, mut back_again) = (vec![0; 65_536], vec![0; 65_536]);
    soon(async {
        while id.is_empty() {
            tokio::select! {
                received = front.recv_from(&mut there) => {
                    let (n, from) = received.unwrap();
                    client = Some(from);
                    back.send_to(&there[..n], gateway).await.unwrap();
                    // A short header: the id follows its first byte.
                    if there[0] & 0x80 == 0 {
                        id = there[1..=ID].to_vec();
                    }
                }
                received = back.recv_from(&mut back_again) => {
                    let n = received.unwrap().0;
                    front.send_to(&back_again[..n], client.unwrap()).await.unwrap();
                }
            }
        }
    })
    .await;
    connecting.abort();
    id
}

/// The token of the reset with which `gateway` answers a packet for this id, if it does.
async fn token(gateway: SocketAddr, id: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut answer = [0; 2_000];
    // Some of these packets may be lost, or come too soon after each other.
    for _ in 0..5 {
        let noise: Vec<u8> = (0..60).map(|_| fastrand::u8(..)).collect();
        let packet = [&[0x40 | fastrand::u8(..0x40)][..], id, &noise].concat();
        socket.send_to(&packet, gateway).await.unwrap();
        let received = timeout(Duration::from_millis(200), socket.recv(&mut answer)).await;
        if let Ok(Ok(n)) = received {
            return Some(answer[n - TOKEN..n].to_vec());
        }
    }
    None
}

#[tokio::test]
async fn a_gateway_tells_no_token_of_another_one_with_its_identity() {
    let state = tempfile::tempdir().unwrap();
    let one = gateway("127.0.0.1:0", state.path()).await;
    let address = one.local_addr();
    let others = [
        gateway("127.0.0.1:0", state.path()).await,
        gateway("127.0.0.2:0", state.path()).await,
        gateway(format!("127.0.0.2:{}", address.port()), state.path()).await,
        gateway("0.0.0.0:0", state.path()).await,
    ];
    let id = overheard(address).await;
    for other in &others {
        let mut to = other.local_addr();
        if to.ip().is_unspecified() {
            to.set_ip("127.0.0.1".parse().unwrap());
        }
        assert_eq!(token(to, &id).await, None, "{to}");
    }
    // It itself does, once it has forgotten the connection.
    soon(one.shutdown()).await;
    drop(one);
    let again = gateway(address, state.path()).await;
    assert!(token(again.local_addr(), &id).await.is_some());
}
