//! UDP sockets, with large buffers; and several of them on one port, for the threads of a gateway.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Size of a socket's send and receive buffers: with the common default of 208 KiB, the kernel
/// drops packets whenever a few megabytes are in flight.
const SOCKET_BUFFER: usize = 4 << 20;

/// Binds a socket that shares its port with no other.
pub(crate) fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = create(local)?;
    let granted = enlarge(&socket)?;
    if granted < SOCKET_BUFFER {
        tracing::warn!(
            granted,
            wanted = SOCKET_BUFFER,
            "small UDP buffers slow down large messages; on Linux, raise net.core.rmem_max and \
             net.core.wmem_max"
        );
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn create(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        // Make the socket dual-stack, so that IPv4 peers can reach it; the default differs between
        // systems.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "the IPv6 socket does not carry IPv4");
        }
    }
    Ok(socket)
}

/// Enlarges the buffers, and returns the size that the system grants.
fn enlarge(socket: &Socket) -> io::Result<usize> {
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    // Linux reports twice the size that it grants, including its own book-keeping (socket(7)).
    let share = if cfg!(target_os = "linux") { 2 } else { 1 };
    Ok(socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / share)
}

/// Binds `n` sockets on one port. The kernel passes each QUIC packet to the socket whose index is
/// the first byte of the packet's destination connection id, modulo `n`.
///
/// The port is refused to everybody else, and to this process if somebody else has it: the first
/// socket is bound without `SO_REUSEPORT`, which succeeds only if no other socket has the port,
/// with or without that option. It permits the others to join afterwards. So two gateways never
/// share a port, however they race. From then on, a program of the same user that sets
/// `SO_REUSEPORT` could bind the port as well; the filter passes it no packets.
///
/// # Errors
/// Those of binding; and the system does not support the filter.
#[cfg(all(target_os = "linux", feature = "gateway"))]
pub(crate) fn bind_all(local: SocketAddr, n: u8) -> io::Result<Vec<UdpSocket>> {
    let first = bind(local)?;
    if n == 1 {
        return Ok(vec![first]);
    }
    socket2::SockRef::from(&first).set_reuse_port(true)?;
    // The port that was selected, if any.
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    // In order: the filter returns the position of a socket among those that have joined.
    for _ in 1..n {
        let socket = create(bound)?;
        enlarge(&socket)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        sockets.push(socket.into());
    }
    // Attached when the last has joined: positions that do not exist yet would fall back to a hash
    // of the addresses.
    steering::attach(&sockets[0], n)?;
    sockets.iter().try_for_each(discard)?;
    Ok(sockets)
}

/// Like [`bind`]: only Linux steers packets by their content.
#[cfg(all(not(target_os = "linux"), feature = "gateway"))]
pub(crate) fn bind_all(local: SocketAddr, _: u8) -> io::Result<Vec<UdpSocket>> {
    bind(local).map(|socket| vec![socket])
}

/// Discards datagrams that have arrived: those that came before the filter may be in the wrong
/// queue, where they would begin a connection that the rest of its packets do not reach. Their
/// senders repeat them.
#[cfg(all(target_os = "linux", feature = "gateway"))]
fn discard(socket: &UdpSocket) -> io::Result<()> {
    /// More than fit into the buffer; what arrives meanwhile is in the right queue.
    const MOST: usize = 100_000;
    socket.set_nonblocking(true)?;
    for _ in 0..MOST {
        match socket.recv(&mut [0]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // An ICMP error of an earlier user of the port.
            Err(_) => {}
        }
    }
    Ok(())
}

/// The filter that selects a socket, in the instructions of classic BPF.
#[cfg(all(target_os = "linux", feature = "gateway"))]
mod steering {
    use std::io;
    use std::net::UdpSocket;

    use nix::libc::{self, sock_filter, sock_fprog};
    use nix::sys::socket::{setsockopt, sockopt};

    /// Attaches the filter to the group of `n` sockets that `socket` belongs to.
    pub(super) fn attach(socket: &UdpSocket, n: u8) -> io::Result<()> {
        let mut program = program(n);
        // There are seven instructions.
        let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        Ok(setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?)
    }

    /// Returns the filter. The places of connection ids are the same in all versions of QUIC
    /// (RFC 8999, section 5): a long header has the bit `0x80`, and the id at byte 6, behind its
    /// length; a short header has it at byte 1.
    ///
    /// A datagram that is too short for it goes to the first socket: a load beyond the end makes
    /// the filter return 0.
    fn program(n: u8) -> [sock_filter; 7] {
        let load = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
        [
            instruction(load, 0, (0, 0)),
            // If the bit is set, go on; otherwise skip two.
            instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0x80, (0, 2)),
            instruction(load, 6, (0, 0)),
            instruction(libc::BPF_JMP | libc::BPF_JA, 1, (0, 0)),
            instruction(load, 1, (0, 0)),
            instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, n.into(), (0, 0)),
            instruction(libc::BPF_RET | libc::BPF_A, 0, (0, 0)),
        ]
    }

    fn instruction(code: u32, k: u32, (jt, jf): (u8, u8)) -> sock_filter {
        // All codes fit: they are below 0x100.
        sock_filter { code: code as u16, jt, jf, k }
    }
}

#[cfg(all(test, target_os = "linux", feature = "gateway"))]
mod tests {
    use super::*;

    /// A packet with a long or short header for a connection id that begins with `first`.
    fn packet(long: bool, first: u8) -> Vec<u8> {
        let mut packet = match long {
            true => vec![0xc0, 0, 0, 0, 1, 8],
            false => vec![0x40],
        };
        packet.push(first);
        packet.extend([0x55; 20]);
        packet
    }

    /// Returns which of `sockets` has received a datagram.
    fn receiver(sockets: &[UdpSocket]) -> usize {
        loop {
            if let Some(i) = sockets.iter().position(|socket| socket.recv(&mut [0; 100]).is_ok()) {
                return i;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn packets_arrive_at_the_socket_that_their_connection_id_names() {
        for local in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            for n in [2, 3, 4, 7, 64] {
                let sockets = bind_all(local.parse().unwrap(), n).unwrap();
                let port = sockets[0].local_addr().unwrap().port();
                let to: Vec<SocketAddr> = match local {
                    "[::1]:0" => vec![format!("[::1]:{port}")],
                    "[::]:0" => vec![format!("[::1]:{port}"), format!("127.0.0.1:{port}")],
                    _ => vec![format!("127.0.0.1:{port}")],
                }
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
                for (round, to) in
                    (0..=u8::MAX).flat_map(|byte| to.iter().map(move |to| (byte, to)))
                {
                    // Any port: steering is not by address.
                    let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
                    let sender = UdpSocket::bind(any).unwrap();
                    for long in [true, false] {
                        sender.send_to(&packet(long, round), to).unwrap();
                        assert_eq!(receiver(&sockets), usize::from(round % n), "{local} {n}");
                    }
                }
                let sender = UdpSocket::bind("[::]:0").unwrap();
                for short in [&[][..], &[0x40], &[0xc0, 0, 0, 0, 1, 8]] {
                    sender.send_to(short, to[0]).unwrap();
                    assert_eq!(receiver(&sockets), 0, "too short");
                }
            }
        }
    }

    #[test]
    fn a_port_has_one_owner_whoever_comes_first() {
        let addresses = ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"];
        for local in addresses.map(|address| address.parse::<SocketAddr>().unwrap()) {
            for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2)] {
                let sockets = bind_all(local, first).unwrap();
                assert_eq!(sockets.len(), usize::from(first));
                let taken = sockets[0].local_addr().unwrap();
                assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == taken));
                let refused = bind_all(taken, second).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{local} {first} {second}");
                drop(sockets);
                bind_all(taken, second).unwrap();
            }
        }
    }

    #[test]
    fn a_single_socket_does_not_share_its_port() {
        let sockets = bind_all("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        assert!(!socket2::SockRef::from(&sockets[0]).reuse_port().unwrap());
    }

    #[test]
    fn of_gateways_that_start_at_once_one_gets_the_port() {
        let free = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        for _ in 0..20 {
            let barrier = std::sync::Barrier::new(4);
            let start = |n| {
                barrier.wait();
                let bound = bind_all(address, n);
                // Kept until all have tried.
                barrier.wait();
                bound.is_ok()
            };
            let owners = std::thread::scope(|scope| {
                let start = &start;
                let threads = [1, 2, 2, 3].map(|n| scope.spawn(move || start(n)));
                threads.map(|thread| thread.join().unwrap()).iter().filter(|owns| **owns).count()
            });
            assert_eq!(owners, 1);
        }
    }
}
