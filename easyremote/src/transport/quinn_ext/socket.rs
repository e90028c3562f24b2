//! UDP sockets that register for writability only after a send would block.
//!
//! tokio's sockets, which quinn's default runtime uses, always register for both readability and
//! writability. Linux reports writability whenever a packet leaves the socket's buffer, even if the
//! buffer was never full. Since tokio uses edge-triggered notifications (epoll(7)), every packet
//! that a thread sends wakes that thread once more for nothing. The sockets here register for
//! writability only while the buffer is full.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, TokioRuntime, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::transport::io::{self as role_io, TaskSet};

/// quinn's tokio runtime with other sockets, whose tasks are those of a role.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// `None` if the tasks are plain ones of tokio.
    tasks: Option<Arc<TaskSet>>,
}

impl Runtime {
    /// Returns the runtime of the current task.
    pub(crate) fn current() -> Self {
        Self { tasks: role_io::current() }
    }
}

impl quinn::Runtime for Runtime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match &self.tasks {
            Some(tasks) => tasks.spawn(future).detach(),
            None => TokioRuntime.spawn(future),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Socket::new(socket, self.tasks.clone())?))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A UDP socket for quinn.
#[derive(Debug)]
struct Socket {
    /// Registered for readability where the tasks run that read it.
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// `Some` if the tasks may move.
    moving: Option<Moving>,
    /// The same socket registered for writability, while its buffer is full.
    full: Mutex<Option<Arc<AsyncFd<UdpSocket>>>>,
}

/// A socket's registration with the I/O thread, which takes over from a blocked runtime.
#[derive(Debug)]
struct Moving {
    tasks: Arc<TaskSet>,
    /// The same socket, registered with the I/O thread while that runs the tasks.
    away: Mutex<Option<Arc<AsyncFd<UdpSocket>>>>,
    /// Wakes the task that reads when the tasks move.
    reader: Arc<AtomicWaker>,
}

impl Moving {
    /// Returns the registration with the I/O thread, if that runs the tasks.
    fn away(&self, socket: &UdpSocket) -> io::Result<Option<Arc<AsyncFd<UdpSocket>>>> {
        if !self.tasks.is_at_thread() {
            self.away.lock().take();
            return Ok(None);
        }
        let mut away = self.away.lock();
        if away.is_none() {
            let _thread = self.tasks.thread().enter();
            *away = Some(Arc::new(watch(socket.try_clone()?, Interest::READABLE)?));
        }
        Ok(away.clone())
    }
}

impl Socket {
    fn new(socket: UdpSocket, tasks: Option<Arc<TaskSet>>) -> io::Result<Self> {
        // This also makes the socket non-blocking.
        let state = UdpSocketState::new((&socket).into())?;
        let there = tasks.and_then(|tasks| {
            let program = tasks.program()?;
            let copy = socket.try_clone().ok()?;
            // Unwind safe: nothing is left of the registration that panics.
            match catch_unwind(AssertUnwindSafe(|| watch_at(program, copy))) {
                Ok(io) => Some((io, tasks)),
                Err(_) => {
                    tracing::debug!("the runtime has no I/O driver: I/O runs on the I/O thread");
                    tasks.surrender();
                    None
                }
            }
        });
        let (io, moving) = match there {
            Some((io, tasks)) => {
                let reader = Arc::default();
                tasks.add_socket(&reader);
                (io?, Some(Moving { tasks, away: Mutex::new(None), reader }))
            }
            None => (watch(socket, Interest::READABLE)?, None),
        };
        Ok(Self { io, state, moving, full: Mutex::new(None) })
    }

    fn full(&self) -> MutexGuard<'_, Option<Arc<AsyncFd<UdpSocket>>>> {
        self.full.lock()
    }

    /// Registers the socket for writability if the result of a send is `WouldBlock`.
    fn note<T>(&self, sent: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
        {
            let mut full = self.full();
            if full.is_none() {
                let socket = self.io.get_ref().try_clone()?;
                *full = Some(Arc::new(watch(socket, Interest::WRITABLE)?));
            }
        }
        sent
    }

    /// Waits until the socket is writable. Cancel safe.
    async fn room(self: Arc<Self>) -> io::Result<()> {
        let waiting = self.full().clone();
        if let Some(waiting) = waiting {
            // The readiness is not cleared; the next send finds out whether it still holds.
            let _ = waiting.writable().await?;
            let mut full = self.full();
            if full.as_ref().is_some_and(|full| Arc::ptr_eq(full, &waiting)) {
                *full = None;
            }
        }
        Ok(())
    }
}

/// Registers a socket for readability with another runtime.
///
/// # Panics
/// If that has no I/O driver.
fn watch_at(runtime: &Handle, socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    let _entered = runtime.enter();
    watch(socket, Interest::READABLE)
}

// The replacement in tokio 1.54 is `unsafe`, because a descriptor may be closed while it is
// registered. This descriptor has no other owner.
#[allow(deprecated)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

/// Returns whether an error concerns an earlier packet to one peer (an ICMP error, reported by the
/// next receive). QUIC detects unreachable peers itself.
fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.note(self.state.send(self.io.get_ref().into(), transmit))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut away = None;
        if let Some(moving) = &self.moving {
            // Before the place is read: a move in between wakes the reader.
            moving.reader.register(context.waker());
            away = moving.away(self.io.get_ref())?;
        }
        let io = away.as_deref().unwrap_or(&self.io);
        loop {
            let mut ready = ready!(io.poll_read_ready(context))?;
            let receive =
                |io: &AsyncFd<UdpSocket>| self.state.recv(io.get_ref().into(), buffers, metas);
            let Ok(received) = ready.try_io(receive) else { continue };
            if received.as_ref().is_err_and(concerns_one_peer) {
                continue;
            }
            if BATCH_SIZE > 1 && received.as_ref().is_ok_and(|n| *n < BATCH_SIZE) {
                // The buffer is drained; the next datagram is reported as a new edge.
                ready.clear_ready();
            }
            return Poll::Ready(received);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

type SendRoom = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits for writability, on behalf of one connection.
struct Poller {
    socket: Arc<Socket>,
    waiting: Option<SendRoom>,
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() {
            if self.socket.full().is_none() {
                return Poll::Ready(Ok(()));
            }
            let room = self.socket.clone().room();
            self.waiting = Some(Box::pin(room));
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let room = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(room)
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poller")
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use quinn::Runtime as _;
    use quinn::udp::EcnCodepoint;
    use tokio::time::timeout;

    use super::*;

    /// Two sockets on loopback.
    fn pair() -> (Arc<dyn AsyncUdpSocket>, Arc<dyn AsyncUdpSocket>) {
        let socket = || {
            Runtime { tasks: None }
                .wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").unwrap())
                .unwrap()
        };
        (socket(), socket())
    }

    fn transmit(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
        let ecn = Some(EcnCodepoint::Ect0);
        Transmit { destination, ecn, contents, segment_size: None, src_ip: None }
    }

    /// Receives the available datagrams, or waits for the first.
    async fn receive(socket: &dyn AsyncUdpSocket) -> Vec<Vec<u8>> {
        let mut buffers = [[0; 100]; BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        let receiving = poll_fn(|context| socket.poll_recv(context, &mut slices, &mut metas));
        let n = timeout(Duration::from_secs(60), receiving).await.unwrap().unwrap();
        std::iter::zip(&buffers, &metas[..n])
            .map(|(buffer, meta)| buffer[..meta.len].into())
            .collect()
    }

    #[tokio::test]
    async fn what_comes_is_received_however_much_it_is_at_a_time() {
        let (one, other) = pair();
        let to = other.local_addr().unwrap();
        // More and fewer than fit into one batch, and one that arrives while it is awaited.
        for n in [1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 1] {
            (0..n).for_each(|i| one.try_send(&transmit(to, &[i as u8])).unwrap());
            let mut received = Vec::new();
            while received.len() < n {
                received.extend(receive(&*other).await);
            }
            assert!(received.iter().map(|datagram| datagram[0]).eq((0..n).map(|i| i as u8)));
        }
        let late = async {
            tokio::task::yield_now().await;
            one.try_send(&transmit(to, b"late")).unwrap();
        };
        assert_eq!(tokio::join!(receive(&*other), late).0, [b"late"]);
    }

    #[tokio::test]
    async fn whoever_finds_no_room_is_told_when_there_is_some() {
        // A pair whose buffers fill up, as those of a network device do: on loopback, a datagram
        // never waits.
        let (socket, peer) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let socket = UdpSocket::from(std::os::fd::OwnedFd::from(socket));
        socket.set_nonblocking(true).unwrap();
        let io = watch(socket, Interest::READABLE).unwrap();
        let any = UdpSocket::bind("127.0.0.1:0").unwrap();
        let state = UdpSocketState::new((&any).into()).unwrap();
        let socket = Arc::new(Socket { io, state, moving: None, full: Mutex::new(None) });
        let mut pollers = [(); 3].map(|()| socket.clone().create_io_poller());
        let mut writable = async || {
            for poller in &mut pollers {
                let room = poll_fn(|context| poller.as_mut().poll_writable(context));
                timeout(Duration::from_secs(60), room).await.unwrap().unwrap();
            }
        };
        writable().await;
        let fill = || loop {
            let sent = socket.io.get_ref().send(&[7; 1_000]);
            if let Err(error) = socket.note(sent) {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                break;
            }
        };
        for _ in 0..3 {
            fill();
            assert!(socket.full().is_some());
            let mut waiting = std::pin::pin!(writable());
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            peer.set_nonblocking(true).unwrap();
            while peer.recv(&mut [0; 1_000]).is_ok() {}
            waiting.await;
            assert!(socket.full().is_none(), "it is not watched for room any more");
        }
    }
}
