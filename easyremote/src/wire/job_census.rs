//! What a node tells a gateway of all of its jobs, for those who look after the gateway.

use std::time::Duration;

use crate::error::printable::one_line;
use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::job::{JobStatus, put_status, read_status};
use crate::wire::limits::MAX_NAME;

/// A job as its node tells it to a gateway: without its number, which is for its owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CensusJob {
    /// Unique among the jobs of the node.
    pub(crate) key: u64,
    pub(crate) function: String,
    /// The identity that has spawned it.
    pub(crate) identity: String,
    /// Time since the node has accepted it.
    pub(crate) age: Duration,
    pub(crate) status: JobStatus,
}

/// Maximum number of jobs that a node tells of.
pub(crate) const MAX_CENSUS: usize = 500;

impl CensusJob {
    /// Appends the job to a list.
    ///
    /// | type   | field    | meaning                          |
    /// |--------|----------|----------------------------------|
    /// | varint | key      | a number, for the node only      |
    /// | string | function | its name                         |
    /// | string | identity | that of its owner                |
    /// | varint | age      | milliseconds since its beginning |
    /// |        | status   | as in a report of a job          |
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(self.key);
        out.put_str(&self.function, MAX_NAME);
        out.put_str(&self.identity, MAX_NAME);
        out.put_varint(u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX));
        put_status(out, &self.status);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let key = reader.varint("key")?;
        let function = one_line(reader.str(MAX_NAME, "function")?, MAX_NAME).into_owned();
        let identity = one_line(reader.str(MAX_NAME, "identity")?, MAX_NAME).into_owned();
        let age = Duration::from_millis(reader.varint("age")?);
        Ok(Self { key, function, identity, age, status: read_status(reader)? })
    }
}

/// Decodes the list of a node.
///
/// # Errors
/// If it is malformed, or too long.
#[cfg_attr(not(feature = "http"), allow(dead_code))] // asked for by the HTTP server
pub(crate) fn read_census(body: &[u8]) -> Result<Vec<CensusJob>, Malformed> {
    let (mut reader, mut jobs) = (Reader::new(body), Vec::new());
    while !reader.is_empty() {
        if jobs.len() == MAX_CENSUS {
            return Err(Malformed::new(format!("a list of more than {MAX_CENSUS} jobs")));
        }
        jobs.push(CensusJob::read(&mut reader)?);
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::job::{JobProgress, JobState};

    fn job(key: u64, text: &str) -> CensusJob {
        let since = Duration::from_millis(9);
        let progress = Some(JobProgress { fraction: 0.5, text: text.to_owned(), since });
        let status = JobStatus { state: JobState::Running, since, progress };
        let (function, identity) = ("train".to_owned(), "ci".to_owned());
        CensusJob { key, function, identity, age: Duration::from_secs(3), status }
    }

    #[test]
    fn a_list_survives_the_wire_and_every_cut_is_an_error_or_shorter() {
        let jobs: Vec<_> = (0..5).map(|key| job(key, "epoch 3")).collect();
        let mut out = Vec::new();
        jobs.iter().for_each(|job| job.put(&mut out));
        assert_eq!(read_census(&out).unwrap(), jobs);
        for end in 0..out.len() {
            if let Ok(read) = read_census(&out[..end]) {
                assert!(read.len() < jobs.len() && jobs.starts_with(&read));
            }
        }
    }

    #[test]
    fn a_list_has_a_limit_and_printable_texts() {
        let mut out = Vec::new();
        (0..=MAX_CENSUS as u64).for_each(|key| job(key, "").put(&mut out));
        read_census(&out).unwrap_err();
        let mut out = Vec::new();
        let hostile = CensusJob { function: "a\u{1b}[2J\nb".to_owned(), ..job(1, "x\ny") };
        hostile.put(&mut out);
        let read = &read_census(&out).unwrap()[0];
        assert_eq!(read.function, "a[2J b");
        assert_eq!(read.status.progress.as_ref().unwrap().text, "x y");
    }
}
