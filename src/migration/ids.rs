//! Names of jobs and nodes: 40 bytes each.

use std::fmt;

/// A job's name or a node's id: 40 bytes, by custom lower-case hexadecimal digits. The bytes are not checked, as Valkey
/// does not check a job's name either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id40(pub [u8; 40]);

/// The name of a job, made by its source and used by both ends.
pub type JobName = Id40;

impl Id40 {
    /// The bytes, if there are exactly 40.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Id40 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Id40 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}
