//! Names of nodes and shards: 40 characters, lower-case hexadecimal when made here, letters and digits when read.

use crate::rng::Rng;

/// Bytes of an id on the bus and in the file.
pub const ID_BYTES: usize = 40;

/// The name of a node or of a shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; ID_BYTES]);

impl NodeId {
    /// A new random id.
    pub fn random(rng: &mut Rng) -> Self {
        let mut id = [0; ID_BYTES];
        for byte in &mut id {
            *byte = b"0123456789abcdef"[rng.below(16) as usize];
        }
        Self(id)
    }

    /// The id these bytes are, if they are one: exactly 40 lower-case letters and digits.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let id: [u8; ID_BYTES] = bytes.try_into().ok()?;
        id.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).then_some(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..", &self.as_str()[..self.as_str().len().min(8)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_lower_case_letters_and_digits() {
        let id = NodeId::random(&mut Rng::new(1));
        assert_eq!(NodeId::parse(id.as_bytes()), Some(id));
        assert_eq!(NodeId::parse(&[b'z'; 40]), Some(NodeId([b'z'; 40])));
        for wrong in [&[b'A'; 40][..], &[b'a'; 39], &[b'a'; 41], &[0; 40], b""] {
            assert_eq!(NodeId::parse(wrong), None);
        }
    }
}
