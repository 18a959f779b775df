//! Hash slots: the unit of ownership of keys.

/// Number of hash slots.
pub const SLOTS: usize = 16_384;

/// A hash slot, below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(pub u16);

impl Slot {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The slot of a key: CRC16/XMODEM of its hash tag if it has one (the bytes between the first `{` and the next `}`,
/// if there are any), else of the whole key.
#[inline]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16::State::<crc16::XMODEM>::calculate(tag_of(key)) % SLOTS as u16)
}

/// The part of a key that decides its slot.
#[inline]
pub fn tag_of(key: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'{', key) {
        let rest = &key[open + 1..];
        if let Some(close) = memchr::memchr(b'}', rest).filter(|&n| n > 0) {
            return &rest[..close];
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from a Valkey 9.1 (`CLUSTER KEYSLOT`).
    #[test]
    fn slots_are_those_of_the_reference() {
        assert_eq!(slot_of(b"foo"), Slot(12182));
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b""), Slot(0));
        assert_eq!(tag_of(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(tag_of(b"foo{{bar}}zap"), b"{bar");
    }
}
