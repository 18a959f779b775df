//! Replication, the part that only computes (spec page replication.md).
//!
//! ## Code map
//! - [`history`]: names of histories and offsets in them; who may continue from where
//! - [`backlog`]: the last bytes of the stream, for replicas that come back
//! - [`framing`]: effects as the stream carries them: SELECT, MULTI and EXEC around commands
//! - [`handshake`]: a replica's first words, and what its primary's answers mean
//! - [`payload`]: the snapshot on the link, and where it ends
//! - [`peer`]: what a replica says about itself
//!
//! Invariant: a history's name and an offset determine the bytes of the stream up to there.

pub mod backlog;
pub mod framing;
pub mod handshake;
pub mod history;
pub mod payload;
pub mod peer;
