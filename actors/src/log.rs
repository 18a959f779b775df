//! Log lines in Valkey's formats, as a layer under `tracing`: tools wait for these lines.
//!
//! The file is opened for every line, so that it can be rotated by renaming it; lines are rare.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use skuld::config::{Choice, Config, LogFormat, LogLevel, LogTimestampFormat, SyslogFacility};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The layer that turns events into lines.
pub struct LogLines;

/// The role letter of the line's head.
static ROLE: AtomicU8 = AtomicU8::new(b'M');
/// Least level written: 0 debug, 1 verbose, 2 notice, 3 warning, 4 nothing.
static LEVEL: AtomicU8 = AtomicU8::new(2);
/// Index of the line's format: 0 legacy, 1 logfmt, 2 json.
static FORMAT: AtomicU8 = AtomicU8::new(0);
/// Index of the format of times: 0 legacy, 1 ISO 8601, 2 milliseconds.
static TIMES: AtomicU8 = AtomicU8::new(0);
/// Where lines go; empty for standard output.
static FILE: Mutex<String> = Mutex::new(String::new());
static SYSLOG: AtomicBool = AtomicBool::new(false);

/// Sets the role letter: `M` primary, `S` replica.
pub fn set_role(letter: u8) {
    ROLE.store(letter, Ordering::Relaxed);
}

/// Takes level and formats from the configuration: at start and after CONFIG SET.
pub fn apply(config: &Config) {
    let level = match config.loglevel {
        LogLevel::Debug => 0,
        LogLevel::Verbose => 1,
        LogLevel::Notice => 2,
        LogLevel::Warning => 3,
        LogLevel::Nothing => 4,
    };
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        // Whether a line is wanted is remembered where it is written.
        tracing::callsite::rebuild_interest_cache();
    }
    let format = match config.log_format {
        LogFormat::Legacy => 0,
        LogFormat::Logfmt => 1,
        LogFormat::Json => 2,
    };
    FORMAT.store(format, Ordering::Relaxed);
    let times = match config.log_timestamp_format {
        LogTimestampFormat::Legacy => 0,
        LogTimestampFormat::Iso8601 => 1,
        LogTimestampFormat::Milliseconds => 2,
    };
    TIMES.store(times, Ordering::Relaxed);
}

/// Opens what the configuration names: the file, and syslog. Call once, before other threads log.
///
/// # Errors
/// When the file cannot be opened for appending.
pub fn open(config: &Config) -> std::io::Result<()> {
    let path = config.logfile.to_str().into_owned();
    if !path.is_empty() {
        append_to(&path)?;
    }
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = path;
    if config.syslog_enabled {
        open_syslog(&config.syslog_ident.to_str(), config.syslog_facility);
    }
    Ok(())
}

fn append_to(path: &str) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

fn open_syslog(ident: &str, facility: SyslogFacility) {
    let facility = match facility {
        SyslogFacility::User => libc::LOG_USER,
        SyslogFacility::Local0 => libc::LOG_LOCAL0,
        SyslogFacility::Local1 => libc::LOG_LOCAL1,
        SyslogFacility::Local2 => libc::LOG_LOCAL2,
        SyslogFacility::Local3 => libc::LOG_LOCAL3,
        SyslogFacility::Local4 => libc::LOG_LOCAL4,
        SyslogFacility::Local5 => libc::LOG_LOCAL5,
        SyslogFacility::Local6 => libc::LOG_LOCAL6,
        SyslogFacility::Local7 => libc::LOG_LOCAL7,
    };
    let Ok(ident) = std::ffi::CString::new(ident) else { return };
    // The C library keeps the pointer for as long as the process lives.
    let ident = ident.into_raw();
    // SAFETY: `ident` is a C string that is never freed.
    unsafe { libc::openlog(ident, libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT, facility) };
    SYSLOG.store(true, Ordering::Relaxed);
}

fn to_syslog(level: u8, text: &str) {
    let priority = [libc::LOG_DEBUG, libc::LOG_INFO, libc::LOG_NOTICE, libc::LOG_WARNING];
    let priority = priority[usize::from(level.min(3))];
    let Ok(text) = std::ffi::CString::new(text.replace('\0', " ")) else { return };
    // SAFETY: both pointers are C strings; the format takes one.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), text.as_ptr()) };
}

/// Writes text as it is, without a head (the banner, crash reports).
pub fn raw(text: &str) {
    let path = FILE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // A log that cannot be written must not stop the server.
    let _ = if path.is_empty() {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    } else {
        append_to(&path).and_then(|mut file| file.write_all(text.as_bytes()))
    };
}

/// A line as Valkey's signal handler writes it: with the time in seconds instead of a role and a date.
pub fn from_signal_handler(text: &str) {
    if LEVEL.load(Ordering::Relaxed) > 3 {
        return;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    raw(&format!("{}:signal-handler ({}) {text}\n", std::process::id(), now.as_secs()));
    if SYSLOG.load(Ordering::Relaxed) {
        to_syslog(3, text);
    }
}

/// Writes one line at a level: 0 debug, 1 verbose, 2 notice, 3 warning.
pub fn write(level: u8, text: &str) {
    raw(&line(level, text));
    if SYSLOG.load(Ordering::Relaxed) {
        to_syslog(level, text);
    }
}

fn line(level: u8, text: &str) -> String {
    let pid = std::process::id();
    let role = ROLE.load(Ordering::Relaxed);
    let time = time_now(TIMES.load(Ordering::Relaxed));
    let format = FORMAT.load(Ordering::Relaxed);
    if format == 0 {
        let mark = ['.', '-', '*', '#'][usize::from(level.min(3))];
        return format!("{pid}:{} {time} {mark} {text}\n", char::from(role));
    }
    let role = match role {
        b'S' => "replica",
        b'X' => "sentinel",
        b'C' => "RDB/AOF",
        _ => "primary",
    };
    let level = LogLevel::NAMES.get(usize::from(level)).map_or("", |(name, _)| name);
    if format == 1 {
        let clean: String = text
            .chars()
            .map(|c| match c {
                '"' => '\'',
                '\n' | '\r' => ' ',
                c => c,
            })
            .collect();
        return format!("pid={pid} role={role} timestamp=\"{time}\" level={level} message=\"{clean}\"\n");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    format!(
        "{{\"pid\":{pid},\"role\":\"{role}\",\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":\"{quoted}\"}}\n"
    )
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let head = if field.name() == "message" { String::new() } else { format!(" {}=", field.name()) };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{head}{value:?}");
    }
}

/// Valkey's levels. Our trace spans are not lines; `tracing`'s levels map to: error and warn `#`, info `*`, debug
/// `-`, trace `.`.
fn level_of(level: &Level) -> u8 {
    match *level {
        Level::ERROR | Level::WARN => 3,
        Level::INFO => 2,
        Level::DEBUG => 1,
        Level::TRACE => 0,
    }
}

impl<S: Subscriber> Layer<S> for LogLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event()
            && metadata.target().starts_with("skuld")
            && level_of(metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        write(level_of(event.metadata().level()), &text.0);
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time now: `22 Nov 2026 04:15:00.123` in local time (0), the same as ISO 8601 (1), Unix milliseconds (2).
fn time_now(format: u8) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if format == 2 {
        return now.as_millis().to_string();
    }
    let seconds = now.as_secs() as libc::time_t;
    // SAFETY: `tm` is plain data for which zero is valid; localtime_r writes it and keeps no pointer.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    let (year, month, ms) = (tm.tm_year + 1900, tm.tm_mon.clamp(0, 11) as usize, now.subsec_millis());
    let (day, hour, minute, second) = (tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if format == 1 {
        let offset = tm.tm_gmtoff / 60;
        let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
        return format!(
            "{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}{sign}{:02}:{:02}",
            month + 1,
            offset / 60,
            offset % 60
        );
    }
    format!("{day:02} {} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}", MONTHS[month])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_the_three_formats() {
        let head = |line: String| line.split(" * ").next().unwrap_or_default().to_owned();
        let legacy = line(2, "hello \"you\"");
        assert!(legacy.ends_with(" * hello \"you\"\n"), "{legacy}");
        assert!(head(legacy).starts_with(&format!("{}:M ", std::process::id())));
        FORMAT.store(1, Ordering::Relaxed);
        assert!(line(3, "a \"b\"\n").ends_with("\" level=warning message=\"a 'b' \"\n"));
        FORMAT.store(2, Ordering::Relaxed);
        assert!(
            line(0, "a \"b\"\n\u{1}")
                .ends_with("\"level\":\"debug\",\"message\":\"a \\\"b\\\"\\n\\u0001\"}\n")
        );
        FORMAT.store(0, Ordering::Relaxed);
    }

    #[test]
    fn times_have_their_shapes() {
        assert_eq!(time_now(0).len(), "22 Nov 2026 04:15:00.123".len());
        assert_eq!(time_now(1).len(), "2026-11-22T05:11:05.583+00:00".len());
        assert!(time_now(2).parse::<u64>().is_ok());
    }
}
