//! The batches of one function at its node: how many calls ran together, and why they stopped waiting.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a batch has stopped waiting for further calls and begun to run; in
/// the trace of a call and in the figures of its function.
///
/// ```
/// use easyremote::client::BatchReason;
///
/// let hint = match BatchReason::Waited {
///     BatchReason::Full => "raise `max` if the hardware takes more at a time",
///     BatchReason::Waited => "few callers at a time, or `wait` is short",
///     BatchReason::Deadline => "the callers' timeouts are shorter than `wait`",
///     BatchReason::Ready => "the function is busy all the time",
///     _ => "",
/// };
/// assert!(hint.starts_with("few"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchReason {
    /// It reached `max`, or the node's concurrency let no further call in.
    Full,
    /// Its first call had waited for `wait`.
    Waited,
    /// A call's deadline left no more time to wait.
    Deadline,
    /// An earlier run ended, for which it had waited longer than it had to wait for calls.
    Ready,
}

impl BatchReason {
    /// All reasons; each has its index as its number on the wire.
    pub(crate) const ALL: [Self; 4] = [Self::Full, Self::Waited, Self::Deadline, Self::Ready];

    /// Returns the number of the reason on the wire.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// The runs of a batch function at a node, in [`FunctionStats`](crate::node::FunctionStats).
///
/// ```
/// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
/// use easyremote::client::BatchReason;
///
/// #[remote(batch(max = 32, wait = "1ms"))]
/// fn length(texts: Vec<String>) -> Vec<usize> {
///     texts.iter().map(String::len).collect()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let address = gateway.local_addr();
/// let node = Node::serve(address, functions![length]).await?;
/// # let client = Client::connect(address).await?;
/// length::call(&client, "text".to_owned()).await?;
/// let batches = &node.functions()[0].batches;
/// assert_eq!((batches.runs, batches.calls), (1, 1));
/// assert_eq!(batches.reasons, [(BatchReason::Waited, 1)]);
/// assert_eq!(batches.sizes, [(Some(1), 1)]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchStats {
    /// Counter: runs of the function. A batch that all callers leave before it begins has none.
    pub runs: u64,
    /// Counter: calls that have begun in these runs. Divided by `runs`, the mean size.
    pub calls: u64,
    /// Counters: runs by the number of their calls, the smallest first; those of 0 are left out. A
    /// run counts at the first bound that its number does not exceed: 1, 2, 4 and so on to 16,384;
    /// `None` stands for more.
    pub sizes: Vec<(Option<u32>, u64)>,
    /// Counters: runs by the reason for which they began, in the order of the reasons; those of 0
    /// are left out.
    pub reasons: Vec<(BatchReason, u64)>,
}

/// Number of sizes that are told apart: powers of two, and what is larger.
const N_SIZES: usize = 16;

/// Returns the bounds of [`BatchStats::sizes`]; of all of them, whether they have counts or not.
pub(crate) fn size_bounds() -> impl Iterator<Item = Option<u32>> {
    (0..N_SIZES as u32 - 1).map(|power| Some(1 << power)).chain([None])
}

/// The runs of one function, while they are recorded. Lock-free.
#[derive(Debug, Default)]
pub(crate) struct BatchMeter {
    calls: AtomicU64,
    sizes: [AtomicU64; N_SIZES],
    reasons: [AtomicU64; BatchReason::ALL.len()],
}

impl BatchMeter {
    /// Counts a run of `size` calls, 1 or more.
    #[cfg(any(feature = "node", test))]
    pub(crate) fn ran(&self, size: usize, reason: BatchReason) {
        let power = size.max(1).next_power_of_two().trailing_zeros() as usize;
        self.calls.fetch_add(size as u64, Ordering::Relaxed);
        self.sizes[power.min(N_SIZES - 1)].fetch_add(1, Ordering::Relaxed);
        self.reasons[usize::from(reason.code())].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> BatchStats {
        let counts = |all: &[AtomicU64]| -> Vec<u64> {
            all.iter().map(|count| count.load(Ordering::Relaxed)).collect()
        };
        let reasons = BatchReason::ALL.into_iter().zip(counts(&self.reasons));
        let reasons: Vec<_> = reasons.filter(|(_, n)| *n > 0).collect();
        let sizes = size_bounds().zip(counts(&self.sizes));
        BatchStats {
            runs: reasons.iter().map(|(_, n)| n).sum(),
            calls: self.calls.load(Ordering::Relaxed),
            sizes: sizes.filter(|(_, n)| *n > 0).collect(),
            reasons,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_counts_at_the_first_bound_that_it_does_not_exceed() {
        let (meter, mut sizes) = (BatchMeter::default(), Vec::new());
        for power in 0..20 {
            let size = 1_usize << power;
            sizes.extend([size - 1, size, size + 1].into_iter().filter(|size| *size > 0));
        }
        for (size, reason) in sizes.iter().zip(BatchReason::ALL.iter().cycle()) {
            meter.ran(*size, *reason);
        }
        let stats = meter.read();
        assert_eq!(stats.runs, sizes.len() as u64);
        assert_eq!(stats.calls, sizes.iter().sum::<usize>() as u64);
        assert_eq!(stats.reasons.iter().map(|(_, n)| n).sum::<u64>(), stats.runs);
        let mut lower = 0;
        for (bound, n) in stats.sizes {
            let within = |size: &&usize| {
                **size > lower && bound.is_none_or(|bound| **size <= bound as usize)
            };
            assert_eq!(n, sizes.iter().filter(within).count() as u64, "{bound:?}");
            lower = bound.map_or(lower, |bound| bound as usize);
        }
    }

    #[test]
    fn reasons_have_their_index_as_number() {
        for (index, reason) in BatchReason::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(reason.code()), index);
        }
        assert_eq!(BatchMeter::default().read(), BatchStats::default());
    }
}
