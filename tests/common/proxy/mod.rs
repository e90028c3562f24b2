//! A UDP proxy between peers and a gateway, which does to their datagrams what bad networks do.
//!
//! The kernels that tests run on need not have `netem`, and a proxy can do more: it sees one
//! connection only, and can be told something else at any time. It has a thread of its own, so that
//! it goes on while tests are busy.

pub mod lane;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use self::lane::{Counts, ETHERNET, Faults};
use self::lane::{Due, Lane};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToGateway,
    FromGateway,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::ToGateway, Self::FromGateway];
}

/// A proxy; dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    lanes: [Mutex<Lane>; 2],
    /// How often the proxy's own address has changed.
    rebinds: AtomicU64,
}

impl Proxy {
    /// A proxy for the gateway at `gateway`. What chance decides is repeated by `seed`.
    pub fn start(gateway: SocketAddr, seed: u64) -> Self {
        let lane = |way: u64| Mutex::new(Lane::new(seed.wrapping_mul(2).wrapping_add(way)));
        let shared = Arc::new(Shared { lanes: [lane(0), lane(1)], rebinds: AtomicU64::new(0) });
        let front = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_nonblocking(true).unwrap();
        let address = front.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let front = UdpSocket::from_std(front).unwrap();
                    tokio::select! {
                        () = forward(front, gateway, shared) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where peers find the gateway.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens to what goes that way, and nothing else.
    pub fn set(&self, way: Way, faults: Faults) {
        self.set_until(way, faults, None);
    }

    fn set_until(&self, way: Way, faults: Faults, until: Option<Instant>) {
        let mut lane = self.shared.lane(way).lock().unwrap();
        (lane.faults, lane.until) = (faults, until);
    }

    /// For so long and no longer nothing gets through in either direction, also where the test that
    /// wants it does not run in time.
    pub fn block_for(&self, time: Duration) {
        let blocked = Faults { blocked: true, ..Faults::default() };
        let until = Some(Instant::now() + time);
        Way::BOTH.into_iter().for_each(|way| self.set_until(way, blocked, until));
    }

    /// The same for both directions.
    pub fn set_both(&self, faults: Faults) {
        Way::BOTH.into_iter().for_each(|way| self.set(way, faults));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.set_both(Faults::default());
    }

    /// What has become of what went that way.
    pub fn counts(&self, way: Way) -> Counts {
        self.shared.lane(way).lock().unwrap().counts
    }

    /// Gives each peer another port, as a NAT does that has forgotten them: the gateway sees it with
    /// the next datagram from the peer, and what it sends to the old port is lost from then on.
    pub fn rebind(&self) {
        self.shared.rebinds.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and shows in what does not arrive.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lane(&self, way: Way) -> &Mutex<Lane> {
        &self.lanes[way as usize]
    }

    /// Gives `out` what becomes of `datagram`.
    fn pass(&self, way: Way, datagram: &[u8], out: &mpsc::UnboundedSender<Due>) {
        let (first, copy) = self.lane(way).lock().unwrap().pass(Instant::now(), datagram);
        for due in first.into_iter().chain(copy) {
            // Unless the proxy ends.
            let _ = out.send(due);
        }
    }
}

/// Larger than any datagram.
const BUFFER: usize = 1 << 16;

/// Moves datagrams in both directions, for ever.
async fn forward(front: UdpSocket, gateway: SocketAddr, shared: Arc<Shared>) {
    let front = Arc::new(front);
    let mut peers: HashMap<SocketAddr, Back> = HashMap::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok((n, peer)) = front.recv_from(&mut buffer).await else { continue };
        let rebinds = shared.rebinds.load(Ordering::Relaxed);
        if peers.get(&peer).is_none_or(|back| back.rebinds != rebinds) {
            let back = Back::open(&front, peer, gateway, &shared, rebinds).await;
            peers.insert(peer, back);
        }
        shared.pass(Way::ToGateway, &buffer[..n], &peers[&peer].out);
    }
}

/// The proxy's side of one peer that the gateway sees.
struct Back {
    /// The `rebinds` in whose time it was opened.
    rebinds: u64,
    /// What goes to the gateway.
    out: mpsc::UnboundedSender<Due>,
    _tasks: JoinSet<()>,
}

impl Back {
    async fn open(
        front: &Arc<UdpSocket>,
        peer: SocketAddr,
        gateway: SocketAddr,
        shared: &Arc<Shared>,
        rebinds: u64,
    ) -> Self {
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let mut tasks = JoinSet::new();
        // What is held is bounded by what the peers send within a delay.
        let (out, to_gateway) = mpsc::unbounded_channel();
        let (answers, to_peer) = mpsc::unbounded_channel();
        tasks.spawn(deliver(to_gateway, back.clone(), gateway));
        tasks.spawn(deliver(to_peer, front.clone(), peer));
        tasks.spawn({
            let shared = shared.clone();
            async move {
                let mut buffer = vec![0; BUFFER];
                loop {
                    let Ok((n, _)) = back.recv_from(&mut buffer).await else { continue };
                    shared.pass(Way::FromGateway, &buffer[..n], &answers);
                }
            }
        });
        Self { rebinds, out, _tasks: tasks }
    }
}

/// Sends each datagram when it is due.
async fn deliver(mut queue: mpsc::UnboundedReceiver<Due>, socket: Arc<UdpSocket>, to: SocketAddr) {
    // Numbered, so that what is due at once goes in order.
    let mut held: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>> = BinaryHeap::new();
    for number in 0.. {
        let next = held.peek().map(|Reverse((due, ..))| *due);
        tokio::select! {
            biased;
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some(Reverse((_, _, datagram))) = held.pop() {
                    // A datagram that cannot be sent is one that is lost.
                    let _ = socket.send_to(&datagram, to).await;
                }
            }
            due = queue.recv() => match due {
                Some((due, datagram)) => held.push(Reverse((due, number, datagram))),
                None => return,
            },
        }
    }
}
