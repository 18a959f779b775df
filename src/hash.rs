//! The one hash function of all tables, seeded per process so that clients cannot aim at one bucket.

use std::sync::atomic::{AtomicU64, Ordering};

static SEED: AtomicU64 = AtomicU64::new(0x5bd1_e995_9c3a_71d7);

/// Sets the seed of all tables. Must be called before the first table is filled: tables do not store hashes.
pub fn set_seed(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
}

/// The 64-bit hash of a key or member.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let seed = SEED.load(Ordering::Relaxed);
    let mut hasher =
        foldhash::fast::SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed())
            .build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
