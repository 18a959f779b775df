//! What the client of a debugged script says, on its way from the connection's actor to the script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use skuld::scripting::debugger::{Nonsense, take_request};

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
    /// Nothing more will come.
    ended: bool,
}

/// What there is to hear.
pub enum Said {
    Nothing,
    Request(Vec<Vec<u8>>),
    Nonsense,
    /// The client has gone.
    Gone,
}

impl Conversation {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self) {
        self.heard().bytes.clear();
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
        self.heard().bytes.extend_from_slice(bytes);
    }

    /// The connection is over.
    pub fn hang_up(&self) {
        self.heard().ended = true;
    }

    pub fn next(&self) -> Said {
        let mut heard = self.heard();
        match take_request(&mut heard.bytes) {
            Ok(Some(request)) => Said::Request(request),
            Err(Nonsense) => Said::Nonsense,
            Ok(None) if heard.ended => Said::Gone,
            Ok(None) => Said::Nothing,
        }
    }
}
