//! What the client of a debugged script says, on its way from the connection's actor to the script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use skuld::scripting::debugger::{Nonsense, take_request};
use tokio::sync::Notify;

/// Bytes that may wait to be heard.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// The client's side of a session.
#[derive(Default)]
pub struct Conversation {
    /// A session is on: bytes that arrive belong to it.
    active: AtomicBool,
    heard: Mutex<Heard>,
    /// Told when there is more to hear.
    more: Notify,
    /// Told when the client says nothing more.
    gone: Notify,
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
        drop(heard);
        self.more.notify_one();
    }

    /// The client has hung up.
    pub fn hang_up(&self) {
        self.gone.notify_one();
    }

    /// Waits for the client to hang up. One task may wait.
    pub async fn gone(&self) {
        self.gone.notified().await;
    }

    /// Waits for bytes that were heard, and takes them as they are; `None` if some are lost.
    pub async fn take_bytes(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut heard = self.heard();
                if heard.overflowed {
                    return None;
                }
                if !heard.bytes.is_empty() {
                    return Some(std::mem::take(&mut heard.bytes));
                }
            }
            self.more.notified().await;
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
