//! What a call asks of the node that runs it.

use std::time::Duration;

use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::limits::{MAX_HEADER, MAX_LIST, MAX_NAME, MAX_TIMEOUT};

/// How the gateway chooses among the nodes that fit a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Of two nodes chosen at random, the one with fewer calls in relation to its
    /// [`concurrency`](crate::NodeBuilder::concurrency) ("the power of two choices": Mitzenmacher,
    /// 2001). The default.
    #[default]
    LeastBusy,
    /// One after the other.
    RoundRobin,
    /// Any, with equal chances.
    Random,
    /// Of two nodes chosen at random, the one that is expected to answer first: by the moving
    /// average of how long its calls of the function took lately, times the calls that it has (the
    /// "peak EWMA" of Finagle and tower). Streams count until they are set up.
    Fastest,
}

impl Strategy {
    fn code(self) -> u8 {
        match self {
            Self::LeastBusy => 1,
            Self::RoundRobin => 2,
            Self::Random => 3,
            Self::Fastest => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::LeastBusy,
            2 => Self::RoundRobin,
            3 => Self::Random,
            4 => Self::Fastest,
            _ => return None,
        })
    }
}

/// What a call asks of the node that runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoutingOptions {
    /// Only this node may run it.
    pub(crate) on: Option<String>,
    /// Only a node with all these tags may run it.
    pub(crate) tags: Vec<String>,
    /// A node with all these tags is to run it, if one is free.
    pub(crate) preferred: Vec<String>,
    /// Calls with the same value are to run on the same node, for as long as the nodes are the same.
    pub(crate) sticky: Option<u64>,
    pub(crate) strategy: Option<Strategy>,
    /// If no node can run it now, wait for one.
    pub(crate) wait: bool,
    /// The same, for so long: nodes may be about to come back. In whole milliseconds.
    pub(crate) patience: Duration,
}

mod option {
    pub(super) const ON: u64 = 1;
    pub(super) const TAG: u64 = 2;
    pub(super) const WAIT: u64 = 3;
    pub(super) const PREFERRED: u64 = 5;
    pub(super) const STICKY: u64 = 6;
    pub(super) const STRATEGY: u64 = 7;
    pub(super) const PATIENCE: u64 = 12;
}

impl RoutingOptions {
    /// Appends the options that say so.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if let Some(node) = &self.on {
            put_option(out, option::ON, node);
        }
        for tag in &self.tags {
            put_option(out, option::TAG, tag);
        }
        for tag in &self.preferred {
            put_option(out, option::PREFERRED, tag);
        }
        if let Some(key) = self.sticky {
            out.put_varint(option::STICKY);
            out.put_bytes(&key.to_be_bytes());
        }
        if let Some(strategy) = self.strategy {
            out.put_varint(option::STRATEGY);
            out.put_bytes(&[strategy.code()]);
        }
        if self.wait {
            put_option(out, option::WAIT, "");
        }
        let patience = self.patience.min(MAX_TIMEOUT).as_millis() as u64;
        if patience > 0 {
            out.put_varint(option::PATIENCE);
            out.put_bytes(&patience.to_be_bytes());
        }
    }

    /// Takes an option over; `false` if it is none of a wish.
    pub(super) fn set_option(&mut self, tag: u64, value: &[u8]) -> Result<bool, Malformed> {
        match tag {
            option::ON => self.on = Some(name(value, "on")?),
            option::TAG => add(&mut self.tags, value)?,
            option::PREFERRED => add(&mut self.preferred, value)?,
            option::STICKY => self.sticky = Some(Reader::new(value).u64("sticky")?),
            // One that is not known is the gateway's to choose.
            option::STRATEGY => {
                self.strategy = Strategy::from_code(Reader::new(value).u8("strategy")?);
            }
            option::WAIT => self.wait = true,
            option::PATIENCE => {
                let patience = Duration::from_millis(Reader::new(value).u64("patience")?);
                self.patience = patience.min(MAX_TIMEOUT);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn put_option(out: &mut Vec<u8>, tag: u64, value: &str) {
    out.put_varint(tag);
    out.put_str(value, MAX_HEADER);
}

fn add(tags: &mut Vec<String>, value: &[u8]) -> Result<(), Malformed> {
    if tags.len() == MAX_LIST {
        return Err(Malformed::new(format!("more than {MAX_LIST} tags")));
    }
    tags.push(name(value, "tag")?);
    Ok(())
}

fn name(value: &[u8], field: &str) -> Result<String, Malformed> {
    match std::str::from_utf8(value) {
        Ok(name) if name.len() <= MAX_NAME => Ok(name.to_owned()),
        Ok(_) => Err(Malformed::new(format!("`{field}` is longer than {MAX_NAME}"))),
        Err(_) => Err(Malformed::new(format!("`{field}` is not UTF-8"))),
    }
}
