//! CLIENT PAUSE: which commands wait, and until when. Shards look before each command; the client that asked is
//! answered when all of them have confirmed that nothing of what waits is still running.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use crate::clock;

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// Those that may change data.
    Writes,
    All,
}

/// The pause of the server, if there is one.
#[derive(Debug, Default)]
pub struct Pause {
    /// 0 nothing, 1 writes, 2 all.
    what: AtomicU8,
    /// Unix milliseconds.
    until_ms: AtomicI64,
}

impl Pause {
    /// Begins a pause, or makes the one there is longer and, if asked, stricter; it never becomes shorter or laxer.
    pub fn begin(&self, what: Paused, until_ms: i64) {
        self.end_if_over();
        let what = match what {
            Paused::Writes => 1,
            Paused::All => 2,
        };
        self.until_ms.fetch_max(until_ms, Ordering::SeqCst);
        self.what.fetch_max(what, Ordering::SeqCst);
    }

    /// Ends the pause.
    pub fn end(&self) {
        self.what.store(0, Ordering::SeqCst);
        self.until_ms.store(0, Ordering::SeqCst);
    }

    fn end_if_over(&self) {
        if self.is_set() && clock::unix_ms() >= self.until_ms.load(Ordering::Relaxed) {
            self.end();
        }
    }

    /// What is paused now, and for how many more milliseconds.
    pub fn state(&self) -> Option<(Paused, i64)> {
        let what = match self.what.load(Ordering::SeqCst) {
            0 => return None,
            1 => Paused::Writes,
            _ => Paused::All,
        };
        let left = self.until_ms.load(Ordering::SeqCst) - clock::unix_ms();
        (left > 0).then_some((what, left))
    }

    /// Whether a pause was begun; it may be over.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.what.load(Ordering::Relaxed) != 0
    }

    /// Whether a command waits; `may_write` tells whether it may change data, or cause a message to replicas.
    #[inline]
    pub fn holds(&self, may_write: impl FnOnce() -> bool) -> bool {
        if !self.is_set() {
            return false;
        }
        match self.state() {
            None => false,
            Some((Paused::All, _)) => true,
            Some((Paused::Writes, _)) => may_write(),
        }
    }

    /// Whether keys stay as they are: no expiry and no eviction by the server itself.
    pub fn freezes_keys(&self) -> bool {
        self.is_set() && self.state().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_only_gets_longer_and_stricter() {
        let pause = Pause::default();
        let now = clock::unix_ms();
        assert_eq!(pause.state(), None);
        pause.begin(Paused::All, now + 60_000);
        pause.begin(Paused::Writes, now + 10_000);
        let (what, left) = pause.state().expect("paused");
        assert!(what == Paused::All && left > 50_000, "{left}");
        pause.end();
        assert_eq!(pause.state(), None);
        pause.begin(Paused::Writes, now - 1);
        assert_eq!(pause.state(), None);
        pause.begin(Paused::Writes, now + 60_000);
        assert!(!pause.holds(|| false) && pause.holds(|| true) && pause.freezes_keys());
    }
}
