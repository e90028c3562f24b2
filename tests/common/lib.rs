//! What the root package's tests share.
