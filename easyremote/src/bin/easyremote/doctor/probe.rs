//! Whether UDP packets get to a QUIC server and back.
//!
//! The probe is a long header of a version that no server has. A server answers every sender with
//! the versions that it has, and keeps no state for it (RFC 9000, section 6.1). An answer shows a
//! QUIC server, a refusal a port without one, and silence a path that drops packets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::findings::{Cause, Finding, Findings};
use crate::units::show_duration;

/// The length of a probe that is as long as the first packet of a handshake (RFC 9000, section
/// 14.1).
pub(super) const FULL: usize = 1_200;

/// The length of a probe that passes every path: the least that IPv4 has to carry is 576.
const SHORT: usize = 100;

/// How often a probe is sent before silence counts.
const ATTEMPTS: u32 = 4;

/// How long each attempt waits. All of them together are longer than most round trips.
const WAIT: Duration = Duration::from_millis(500);

/// What came back.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer of a QUIC server, after this time.
    Answer(Duration),
    /// The host says that nothing listens at the port.
    Refused,
    /// This machine could not send.
    Unsent(io::Error),
    Silence,
}

/// Probes the addresses of a gateway, and adds what was found. Returns whether one answers.
pub(super) async fn reaches_any(addresses: &[SocketAddr], findings: &mut Findings) -> bool {
    let mut failed = None;
    for &address in addresses {
        let finding = match ask(address, FULL).await {
            Heard::Answer(time) => {
                let time = show_duration(time);
                let text = format!("a QUIC server at {address} answers in {time}");
                findings.add(Finding::fine("udp", text));
                return true;
            }
            Heard::Refused => {
                let text = format!("the host answers, and nothing listens at {address}");
                Finding::failed("udp", Cause::NothingThere, text)
            }
            Heard::Unsent(error) => {
                let text = format!("cannot send to {address}: {error}");
                Finding::failed("udp", Cause::NoRoute, text)
            }
            Heard::Silence => match ask(address, SHORT).await {
                Heard::Answer(_) => {
                    let text = format!("{address} answers short packets only");
                    Finding::failed("udp", Cause::Mtu, text)
                }
                _ => {
                    let text = format!("no answer from {address}, and no refusal: UDP is dropped");
                    Finding::failed("udp", Cause::UdpDropped, text)
                }
            },
        };
        failed.get_or_insert(finding);
    }
    if let Some(failed) = failed {
        findings.add(failed);
    }
    false
}

/// Sends a probe of this length, a few times if need be.
pub(super) async fn ask(address: SocketAddr, length: usize) -> Heard {
    let own: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = async {
        let socket = UdpSocket::bind((own, 0)).await?;
        // Connected, so that the system passes refusals on.
        socket.connect(address).await?;
        Ok(socket)
    };
    let socket = match socket.await {
        Ok(socket) => socket,
        Err(error) => return Heard::Unsent(error),
    };
    let (packet, mut answer) = (packet(length), [0; 2_048]);
    for _ in 0..ATTEMPTS {
        let sent = Instant::now();
        match socket.send(&packet).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Heard::Refused;
            }
            Err(error) => return Heard::Unsent(error),
        }
        match timeout(WAIT, socket.recv(&mut answer)).await {
            Ok(Ok(_)) => return Heard::Answer(sent.elapsed()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Heard::Refused;
            }
            Ok(Err(error)) => return Heard::Unsent(error),
            Err(_) => {}
        }
    }
    Heard::Silence
}

/// A long header of an unknown version, padded to `length`.
fn packet(length: usize) -> Vec<u8> {
    /// Of the form that is reserved to be unknown (RFC 9000, section 15).
    const VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];
    let mut packet = vec![0xc0];
    packet.extend_from_slice(&VERSION);
    // Both connection ids have 8 bytes.
    for id in [*b"doctor-d", *b"doctor-s"] {
        packet.push(8);
        packet.extend_from_slice(&id);
    }
    packet.resize(length, 0);
    packet
}
