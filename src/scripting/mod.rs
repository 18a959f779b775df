//! What scripts need that is pure: the scripts' first lines, the cache of scripts, the table of libraries, replies as
//! scripts read them, and the formats of the libraries scripts may use. The machine that runs them is an actor's.

pub mod cache;
pub mod debugger;
pub mod dump;
pub mod json;
pub mod libraries;
pub mod msgpack;
pub mod random;
pub mod replies;
pub mod shebang;
pub mod structs;
pub mod value;

use sha1::{Digest as _, Sha1};

/// The name of a script: the SHA-1 of its text in lower-case hexadecimal digits.
pub type Sha = [u8; 40];

/// The name of a script of this text.
pub fn sha1_hex(text: &[u8]) -> Sha {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(text);
    let mut name = [0; 40];
    for (pair, byte) in name.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    name
}

/// What a script or function says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags(pub u8);

impl ScriptFlags {
    pub const NO_WRITES: Self = Self(1);
    pub const ALLOW_OOM: Self = Self(2);
    pub const ALLOW_STALE: Self = Self(4);
    pub const NO_CLUSTER: Self = Self(8);
    pub const ALLOW_CROSS_SLOT: Self = Self(16);
    /// It says nothing: the rules of the time before flags hold.
    pub const UNDECLARED: Self = Self(32);

    /// The names in the order in which lists show them.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::NO_WRITES, "no-writes"),
        (Self::ALLOW_OOM, "allow-oom"),
        (Self::ALLOW_STALE, "allow-stale"),
        (Self::NO_CLUSTER, "no-cluster"),
        (Self::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    #[must_use]
    pub const fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl ExactSizeIterator<Item = &'static str> {
        let set: Vec<_> =
            Self::NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        set.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_named_by_their_sha1() {
        assert_eq!(&sha1_hex(b"return 1"), b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn flags_have_names() {
        let flags = ScriptFlags::NO_WRITES.with(ScriptFlags::ALLOW_CROSS_SLOT);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["no-writes", "allow-cross-slot-keys"]);
    }
}
