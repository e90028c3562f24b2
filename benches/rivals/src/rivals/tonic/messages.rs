//! The messages of the service, as `prost-build` would write them.

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Wanted {
    #[prost(uint64, tag = "1")]
    pub n: u64,
    #[prost(uint64, tag = "2")]
    pub length: u64,
    #[prost(bool, tag = "3")]
    pub stays: bool,
}
