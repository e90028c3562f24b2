//! Jobs on the wire: their ids, what is asked about them, and what is answered.
//!
//! A caller spawns a job with option 19 of the header, and asks about it with further calls that
//! have the same option. Such a request names the function and the node of the job, so that the
//! access rules of the function hold, and the gateway routes it as a call for one node. It takes no
//! place there.
//!
//! | request     | the answer                                                                      |
//! |-------------|---------------------------------------------------------------------------------|
//! | spawn       | `Accepted`, once the node has the job                                           |
//! | status      | `JobReport`                                                                     |
//! | result      | `Body` or `Fault` of the function; `JobReport` with an error, or while it runs  |
//! | collected   | `JobReport`                                                                     |
//! | cancel      | `JobReport`                                                                     |
//! | list        | `Body`: the jobs of the caller's identity at one node                           |
//! | census      | `Body`: all jobs of a node, without their numbers; only its gateway may ask     |
//!
//! Any of them may be an `Error` instead.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::printable::{is_printable, one_line};
use crate::error::{Error, ErrorKind};
use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::error::{put_error_fields, read_error};
use crate::wire::frame::{self, FrameKind};
use crate::wire::limits::{MAX_ACCEPTED, MAX_JOB_REPORT, MAX_JOBS, MAX_NAME, MAX_PROGRESS};

/// The number of a job: the id of the call that has spawned it.
pub(crate) type JobNumber = [u8; 16];

/// The id of a job, from [`Job::id`](crate::client::Job::id).
///
/// `Display` writes it as `<number>:<function>@<node>`, which `FromStr` and serde read: the number
/// is 128 random bits in 32 hexadecimal digits. An id is not a secret: it is of use to the identity
/// that has spawned the job only.
///
/// ```
/// use easyremote::client::JobId;
///
/// let text = "0123456789abcdef0123456789abcdef:train@gpu-1";
/// let id: JobId = text.parse()?;
/// assert_eq!((id.function(), id.node()), ("train", "gpu-1"));
/// assert_eq!(id.to_string(), text);
/// # Ok::<(), easyremote::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "task id")]
pub struct JobId {
    node: Arc<str>,
    function: Arc<str>,
    number: u128,
}

impl JobId {
    /// Creates the id of the job `number` of a function at a node.
    ///
    /// # Errors
    /// If one of the names is empty, too long or not printable.
    pub(crate) fn new(number: JobNumber, function: &str, node: &str) -> Result<Self, Malformed> {
        let fits = |name: &str| (1..=MAX_NAME).contains(&name.len()) && is_printable(name);
        if !fits(function) || function.contains('@') || !fits(node) {
            return Err(Malformed::new("the names in the id of a job are not valid"));
        }
        let number = u128::from_be_bytes(number);
        Ok(Self { node: node.into(), function: function.into(), number })
    }

    /// Returns the id of the node that runs the job.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the name of the function on the wire, such as `train` or `Model:small.train`.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.function
    }

    pub(crate) fn number(&self) -> JobNumber {
        self.number.to_be_bytes()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}:{}@{}", self.number, self.function, self.node)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

impl FromStr for JobId {
    type Err = Error;

    /// Reads the id of a job from its text.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the text is not the id of a job.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            let text = "the id of a job is written as `<32 hexadecimal digits>:<function>@<node>`";
            Error::new(ErrorKind::InvalidInput, text)
        };
        let (number, names) = text.split_once(':').ok_or_else(invalid)?;
        let (function, node) = names.split_once('@').ok_or_else(invalid)?;
        let digits = number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(number, 16).ok().filter(|_| digits);
        let number = number.ok_or_else(invalid)?.to_be_bytes();
        Self::new(number, function, node).map_err(|_| invalid())
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// What a job does, or how it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// The node has accepted the job, and its function has not started.
    Waiting,
    /// The function runs.
    Running,
    /// The function has returned a value, which the node keeps.
    Succeeded,
    /// The job has ended without a value: the function has returned its own error or has panicked,
    /// its deadline has passed, or it was cancelled. The node keeps the error.
    Failed,
}

impl JobState {
    /// Returns whether the job has ended.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    fn code(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Running => 1,
            Self::Succeeded => 2,
            Self::Failed => 3,
        }
    }

    fn from_code(code: u8) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Waiting,
            1 => Self::Running,
            2 => Self::Succeeded,
            3 => Self::Failed,
            _ => return Err(Malformed::new("`state` is unknown to this version")),
        })
    }
}

/// What a job does now, from [`Job::status`](crate::client::Job::status).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobStatus {
    /// Its state.
    pub state: JobState,
    /// How long it has been in this state.
    pub since: Duration,
    /// The last [progress](crate::Context::progress) that the function has reported.
    pub progress: Option<JobProgress>,
}

/// How far the function of a job says that it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobProgress {
    /// The part that is done, from 0 to 1.
    pub fraction: f64,
    /// What the function says about it: one line of at most 1 KiB.
    pub text: String,
    /// How long ago it said so.
    pub since: Duration,
}

/// What option 19 of a call header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobOption {
    /// The call runs without its caller.
    Spawn,
    /// The call asks about jobs, and runs nothing.
    Request(JobRequest),
}

/// A request about jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobRequest {
    Status(JobNumber),
    /// Answered after at most this time, in whole milliseconds.
    Result(JobNumber, Duration),
    /// The caller has the result.
    Collected(JobNumber),
    Cancel(JobNumber),
    List,
    /// For all jobs; of the gateway itself.
    Census,
}

/// Longest wait for the result of a job, by one request.
pub(crate) const MAX_RESULT_WAIT: Duration = Duration::from_secs(30);

impl JobOption {
    /// Appends the value of the option.
    ///
    /// | type     | field  | meaning                                                             |
    /// |----------|--------|---------------------------------------------------------------------|
    /// | 1 byte   | what   | 0 spawn, 1 status, 2 result, 3 collected, 4 cancel, 5 list, 6 census |
    /// | 16 bytes | number | of the job: its call id; in 1 to 4                                  |
    /// | varint   | wait   | milliseconds to wait for the result; in 2                           |
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let (code, number) = match self {
            Self::Spawn => (0, None),
            Self::Request(JobRequest::Status(number)) => (1, Some(number)),
            Self::Request(JobRequest::Result(number, _)) => (2, Some(number)),
            Self::Request(JobRequest::Collected(number)) => (3, Some(number)),
            Self::Request(JobRequest::Cancel(number)) => (4, Some(number)),
            Self::Request(JobRequest::List) => (5, None),
            Self::Request(JobRequest::Census) => (6, None),
        };
        out.push(code);
        out.extend_from_slice(number.map_or(&[], |number| &number[..]));
        if let Self::Request(JobRequest::Result(_, wait)) = self {
            out.put_varint(wait.min(&MAX_RESULT_WAIT).as_millis() as u64);
        }
    }

    /// Decodes the value of the option.
    ///
    /// # Errors
    /// If it is malformed.
    pub(crate) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(value);
        let code = reader.u8("job")?;
        let mut number = || reader.array("job");
        let request = match code {
            0 => return Ok(Self::Spawn),
            1 => JobRequest::Status(number()?),
            2 => {
                let number = number()?;
                let wait = Duration::from_millis(reader.varint("wait")?);
                JobRequest::Result(number, wait.min(MAX_RESULT_WAIT))
            }
            3 => JobRequest::Collected(number()?),
            4 => JobRequest::Cancel(number()?),
            5 => JobRequest::List,
            6 => JobRequest::Census,
            _ => return Err(Malformed::unsupported("`job` is unknown to this version".to_owned())),
        };
        Ok(Self::Request(request))
    }
}

/// Appends the `Accepted` frame of the job `number` at a node.
///
/// | type     | field  | meaning                  |
/// |----------|--------|--------------------------|
/// | 16 bytes | number | of the job               |
/// | string   | node   | id of the node           |
pub(crate) fn put_accepted(out: &mut Vec<u8>, number: JobNumber, node: &str) {
    let start = frame::begin(out, FrameKind::Accepted);
    out.extend_from_slice(&number);
    out.put_str(node, MAX_NAME);
    let fits = frame::finish(out, start, MAX_ACCEPTED);
    debug_assert!(fits.is_ok(), "an id is cut to fit");
}

/// Decodes the body of an `Accepted` frame, which answers a spawn of `function`.
///
/// # Errors
/// If it is malformed.
pub(crate) fn read_accepted(body: &[u8], function: &str) -> Result<JobId, Malformed> {
    let mut reader = Reader::new(body);
    let number = reader.array("number")?;
    JobId::new(number, function, reader.str(MAX_NAME, "node")?)
}

/// What a node reports about a job: the body of a `JobReport` frame.
#[derive(Clone, Debug)]
pub(crate) struct JobReport {
    pub(crate) status: JobStatus,
    /// Why the job has failed, if that is not the function's own error as a value. In the answer to
    /// a request for the result.
    pub(crate) error: Option<Error>,
}

impl JobReport {
    /// Appends the report as a frame: the fields of the status, and those of an `Error` frame if
    /// there is an error.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, FrameKind::JobReport);
        put_status(out, &self.status);
        if let Some(error) = &self.error {
            put_error_fields(out, error);
        }
        // The fields of an error are cut to the limit of an `Error` frame.
        let fits = frame::finish(out, start, MAX_JOB_REPORT);
        debug_assert!(fits.is_ok(), "a report is cut to fit");
    }

    /// Decodes the body of a `JobReport` frame.
    ///
    /// # Errors
    /// If it is malformed.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let status = read_status(&mut reader)?;
        let rest = reader.rest();
        let error = if rest.is_empty() { None } else { Some(read_error(rest)?) };
        Ok(Self { status, error })
    }
}

/// Appends the fields of a status.
///
/// | type    | field    | meaning                                                  |
/// |---------|----------|----------------------------------------------------------|
/// | 1 byte  | state    | 0 waiting, 1 running, 2 succeeded, 3 failed              |
/// | varint  | since    | milliseconds in this state                               |
/// | 1 byte  | progress | whether the next three fields follow                     |
/// | 8 bytes | fraction | as in `f64::to_bits`, big-endian                         |
/// | varint  | ago      | milliseconds since the function has reported it          |
/// | string  | text     | what it said                                             |
pub(super) fn put_status(out: &mut Vec<u8>, status: &JobStatus) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    out.push(status.state.code());
    out.put_varint(millis(status.since));
    out.push(u8::from(status.progress.is_some()));
    if let Some(progress) = &status.progress {
        out.extend_from_slice(&progress.fraction.to_bits().to_be_bytes());
        out.put_varint(millis(progress.since));
        out.put_str(&progress.text, MAX_PROGRESS);
    }
}

pub(super) fn read_status(reader: &mut Reader<'_>) -> Result<JobStatus, Malformed> {
    let state = JobState::from_code(reader.u8("state")?)?;
    let since = Duration::from_millis(reader.varint("since")?);
    let progress = match reader.u8("progress")? {
        0 => None,
        _ => {
            let fraction = sane_fraction(f64::from_bits(reader.u64("fraction")?));
            let since = Duration::from_millis(reader.varint("ago")?);
            let text = one_line(reader.str(MAX_PROGRESS, "text")?, MAX_PROGRESS).into_owned();
            Some(JobProgress { fraction, text, since })
        }
    };
    Ok(JobStatus { state, since, progress })
}

/// Returns a fraction from 0 to 1, which `NaN` is not.
pub(crate) fn sane_fraction(fraction: f64) -> f64 {
    if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) }
}

/// A job in a list of jobs: its number, its function and its status.
pub(crate) type ListedJob = (JobNumber, String, JobStatus);

/// Appends a job to a list: its number, the name of its function, and its status.
pub(crate) fn put_listed(out: &mut Vec<u8>, number: JobNumber, function: &str, status: &JobStatus) {
    out.extend_from_slice(&number);
    out.put_str(function, MAX_NAME);
    put_status(out, status);
}

/// Decodes a list of jobs.
///
/// # Errors
/// If it is malformed, or longer than a node may have for one identity.
pub(crate) fn read_list(body: &[u8]) -> Result<Vec<ListedJob>, Malformed> {
    let (mut reader, mut jobs) = (Reader::new(body), Vec::new());
    while !reader.is_empty() {
        if jobs.len() == MAX_JOBS {
            return Err(Malformed::new(format!("more than {MAX_JOBS} jobs of one identity")));
        }
        let number = reader.array("number")?;
        let function = reader.str(MAX_NAME, "function")?.to_owned();
        jobs.push((number, function, read_status(&mut reader)?));
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Executed;
    use crate::wire::frame::FRAME_HEADER;

    const NUMBER: JobNumber = [0xa7; 16];

    fn status(progress: Option<f64>) -> JobStatus {
        let since = Duration::from_millis(4_711);
        let progress = progress.map(|fraction| JobProgress {
            fraction,
            text: "epoch 3".to_owned(),
            since: Duration::from_millis(9),
        });
        JobStatus { state: JobState::Running, since, progress }
    }

    #[test]
    fn ids_survive_their_text_and_serde() {
        for (function, node) in [("train", "gpu-1"), ("Model:small.fit", "a@b:c"), ("f", "ä ö")] {
            let id = JobId::new(NUMBER, function, node).unwrap();
            assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<JobId>(&json).unwrap(), id);
            assert_eq!(id.number(), NUMBER);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let number = "a7".repeat(16);
        for text in [
            String::new(),
            number.clone(),
            format!("{number}:train"),
            format!("{number}:@gpu-1"),
            format!("{number}:train@"),
            format!("{}:train@gpu-1", &number[1..]),
            format!("+{}:train@gpu-1", &number[1..]),
            format!("{number}:tr\u{202e}ain@gpu-1"),
            format!("{number}:train@gpu\n1"),
            format!("{number}:train@{}", "x".repeat(MAX_NAME + 1)),
            format!("{number}:{}@gpu-1", "x".repeat(MAX_NAME + 1)),
        ] {
            let error = text.parse::<JobId>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn options_survive_the_wire_and_every_cut_is_an_error() {
        let wait = Duration::from_millis(1_500);
        for option in [
            JobOption::Spawn,
            JobOption::Request(JobRequest::Status(NUMBER)),
            JobOption::Request(JobRequest::Result(NUMBER, wait)),
            JobOption::Request(JobRequest::Collected(NUMBER)),
            JobOption::Request(JobRequest::Cancel(NUMBER)),
            JobOption::Request(JobRequest::List),
            JobOption::Request(JobRequest::Census),
        ] {
            let mut out = Vec::new();
            option.put(&mut out);
            assert_eq!(JobOption::read(&out), Ok(option.clone()));
            for end in 0..out.len() {
                assert!(JobOption::read(&out[..end]).is_err(), "{option:?} {end}");
            }
        }
        assert!(JobOption::read(&[7]).is_err());
        let mut long = Vec::new();
        JobOption::Request(JobRequest::Result(NUMBER, Duration::MAX)).put(&mut long);
        let read = JobOption::Request(JobRequest::Result(NUMBER, MAX_RESULT_WAIT));
        assert_eq!(JobOption::read(&long), Ok(read));
    }

    #[test]
    fn reports_survive_the_wire() {
        for progress in [None, Some(0.25)] {
            for failed in [false, true] {
                let error = Error::new(ErrorKind::Panicked, "no luck");
                let error = failed.then(|| error.with_executed(Executed::Yes));
                let mut out = Vec::new();
                JobReport { status: status(progress), error: error.clone() }.put(&mut out);
                let read = JobReport::read(&out[FRAME_HEADER..]).unwrap();
                assert_eq!(read.status, status(progress));
                assert_eq!(format!("{:?}", read.error), format!("{error:?}"));
            }
        }
    }

    #[test]
    fn no_report_is_longer_than_its_frame_and_no_fraction_is_odd() {
        let mut status = status(Some(f64::NAN));
        status.progress.as_mut().unwrap().text = "é".repeat(MAX_PROGRESS);
        let error = Some(Error::new(ErrorKind::Failed, "é".repeat(100_000)));
        let mut out = Vec::new();
        JobReport { status, error }.put(&mut out);
        let read = JobReport::read(&out[FRAME_HEADER..]).unwrap();
        let progress = read.status.progress.unwrap();
        assert_eq!((progress.fraction, progress.text.len()), (0.0, MAX_PROGRESS));
    }

    #[test]
    fn lists_survive_the_wire_up_to_their_limit() {
        let mut out = Vec::new();
        for _ in 0..MAX_JOBS {
            put_listed(&mut out, NUMBER, "train", &status(Some(0.5)));
        }
        let jobs = read_list(&out).unwrap();
        assert_eq!(jobs.len(), MAX_JOBS);
        assert_eq!(jobs[1], (NUMBER, "train".to_owned(), status(Some(0.5))));
        put_listed(&mut out, NUMBER, "train", &status(None));
        assert!(read_list(&out).is_err());
        assert!(read_list(&out[..20]).is_err());
    }

    #[test]
    fn a_job_that_is_accepted_has_an_id() {
        let mut out = Vec::new();
        put_accepted(&mut out, NUMBER, "gpu-1");
        let id = read_accepted(&out[FRAME_HEADER..], "train").unwrap();
        assert_eq!(id, JobId::new(NUMBER, "train", "gpu-1").unwrap());
        assert!(read_accepted(&out[FRAME_HEADER..FRAME_HEADER + 15], "train").is_err());
        assert!(read_accepted(&[0; 17], "train").is_err(), "a node without an id");
    }
}
