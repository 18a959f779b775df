//! Passwords are kept as the hexadecimal digits of their SHA-256.

use sha2::{Digest, Sha256};

/// Digits of a hash.
pub const HASH_LEN: usize = 64;

/// A password's hash in lower-case hexadecimal digits.
pub type Hash = [u8; HASH_LEN];

/// Hashes a password.
pub fn hash(password: &[u8]) -> Hash {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; HASH_LEN];
    for (pair, byte) in out.chunks_exact_mut(2).zip(Sha256::digest(password)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

/// A hash that a rule states, if it has the right form.
pub fn parse(text: &[u8]) -> Option<Hash> {
    let valid = text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if valid { text.try_into().ok() } else { None }
}

/// Compares in a time that does not depend on where the two differ.
pub fn same(a: &Hash, b: &Hash) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
