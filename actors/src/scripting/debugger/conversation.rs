//! What the client of a debugged script says, on its way from the connection's actor to the script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use skuld::scripting::debugger::{Nonsense, take_request};

/// Bytes that may wait to be heard.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// The client's side of a session.
#[derive(Default)]
pub struct Conversation {
    /// A session is on: bytes that arrive belong to it.
    active: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// More came than may wait; what did not fit is lost.
    overflowed: bool,
}

/// What there is to hear.
pub enum Said {
    Nothing,
    Request(Vec<Vec<u8>>),
    Nonsense,
}

impl Conversation {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self) {
        *self.heard() = Heard::default();
        self.active.store(true, Ordering::Release);
    }

    pub fn end(&self) {
        self.active.store(false, Ordering::Release);
    }

    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// The connection has read this.
    pub fn hear(&self, bytes: &[u8]) {
        let mut heard = self.heard();
        heard.overflowed |= heard.bytes.len() + bytes.len() > WAITING_BYTES_MAX;
        if !heard.overflowed {
            heard.bytes.extend_from_slice(bytes);
        }
    }

    pub fn next(&self) -> Said {
        let mut heard = self.heard();
        match take_request(&mut heard.bytes) {
            Ok(Some(request)) => Said::Request(request),
            Err(Nonsense) => Said::Nonsense,
            Ok(None) if heard.overflowed => Said::Nonsense,
            Ok(None) => Said::Nothing,
        }
    }
}
