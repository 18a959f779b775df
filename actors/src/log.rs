//! Log lines in Valkey's formats, as a layer under `tracing`: tools wait for these lines.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where lines go and how they look. `logfile ""` is standard output.
pub struct LogLines {
    file: Option<Mutex<std::fs::File>>,
}

/// The role letter of the line's head.
static ROLE: AtomicU8 = AtomicU8::new(b'M');
/// Least level written: 0 debug, 1 verbose, 2 notice, 3 warning, 4 nothing.
static LEVEL: AtomicU8 = AtomicU8::new(2);

/// Sets the role letter: `M` primary, `S` replica.
pub fn set_role(letter: u8) {
    ROLE.store(letter, Ordering::Relaxed);
}

/// Sets the least level written.
pub fn set_level(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

impl LogLines {
    /// Lines to a file, appended, or to standard output if the path is empty.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn new(path: &str) -> std::io::Result<Self> {
        let file = if path.is_empty() {
            None
        } else {
            Some(Mutex::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?))
        };
        Ok(Self { file })
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let head = if field.name() == "message" { String::new() } else { format!(" {}=", field.name()) };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{head}{value:?}");
    }
}

/// Valkey's level letters. Our trace spans are not lines; `tracing`'s levels map to: error and warn `#`, info `*`,
/// debug `-`, trace `.`.
fn letter(level: &Level) -> (u8, char) {
    match *level {
        Level::ERROR | Level::WARN => (3, '#'),
        Level::INFO => (2, '*'),
        Level::DEBUG => (1, '-'),
        Level::TRACE => (0, '.'),
    }
}

impl<S: Subscriber> Layer<S> for LogLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && letter(metadata.level()).0 >= LEVEL.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (_, mark) = letter(event.metadata().level());
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = format!(
            "{}:{} {} {mark} {}\n",
            std::process::id(),
            ROLE.load(Ordering::Relaxed) as char,
            local_time(),
            text.0
        );
        // A log that cannot be written must not stop the server.
        let _ = match &self.file {
            Some(file) => {
                file.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write_all(line.as_bytes())
            }
            None => std::io::stdout().lock().write_all(line.as_bytes()),
        };
    }
}

/// `22 Nov 2026 04:15:00.123` in local time.
fn local_time() -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs() as libc::time_t;
    // SAFETY: `tm` is plain data for which zero is valid; localtime_r writes it and keeps no pointer.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    format!(
        "{:02} {} {} {:02}:{:02}:{:02}.{:03}",
        tm.tm_mday,
        MONTHS[tm.tm_mon.clamp(0, 11) as usize],
        tm.tm_year + 1900,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        now.subsec_millis()
    )
}
