//! The last words of a process that crashes: what happened, where, and what the server was doing.
//!
//! A fault leaves the process in an unknown state, so all of this is best effort: an alarm ends the process should
//! the report itself hang on a lock that the fault left taken.

use std::backtrace::Backtrace;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use skuld::config::Config;
use skuld::version::VERSION;

use crate::log;
use crate::server::ServerRef;

/// For the report's pictures of the server.
static SERVER: OnceLock<ServerRef> = OnceLock::new();
/// One report is enough, also when the report itself faults.
static REPORTED: AtomicBool = AtomicBool::new(false);
/// `crash-log-enabled`.
static ENABLED: AtomicBool = AtomicBool::new(true);
/// `use-exit-on-panic`.
static EXITS_ON_PANIC: AtomicBool = AtomicBool::new(false);

/// Longest time a report may take before the process is killed, seconds.
const REPORT_SECONDS_MAX: u32 = 10;
/// Stack for the report of a thread whose own stack may be the problem. Reserved, not touched until then.
const REPORT_STACK_BYTES: usize = 512 * 1024;

const FATAL_SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// Lets reports show the server.
pub fn set_server(server: &ServerRef) {
    // Set once; a second server in a process does not exist.
    let _ = SERVER.set(server.clone());
}

/// Takes `crash-log-enabled` and `use-exit-on-panic` over.
pub fn apply(config: &Config) {
    ENABLED.store(config.crash_log_enabled, Ordering::Relaxed);
    EXITS_ON_PANIC.store(config.use_exit_on_panic, Ordering::Relaxed);
}

/// Watches for fatal signals, and makes every panic end the process: half-alive is worse than dead.
pub fn install() {
    give_thread_a_report_stack();
    for signal in FATAL_SIGNALS {
        // SAFETY: the structure is plain data for which zero is valid; the handler has the signature SA_SIGINFO
        // asks for. SA_RESETHAND makes a fault inside the handler final.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fatal_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
    std::panic::set_hook(Box::new(|info| {
        if ENABLED.load(Ordering::Relaxed) {
            start_report();
            log::write(3, "=== ASSERTION FAILED ===");
            log::write(3, &format!("==> {info}"));
            report_state(&Backtrace::force_capture());
        } else {
            log::write(3, &format!("{info}"));
        }
        if EXITS_ON_PANIC.load(Ordering::Relaxed) {
            // SAFETY: _exit has no preconditions; nothing of this process runs any more.
            unsafe { libc::_exit(1) };
        }
        die(libc::SIGABRT);
    }));
}

/// Gives the calling thread a stack for reports of its own stack's overflow.
pub fn give_thread_a_report_stack() {
    // SAFETY: fresh pages that are never unmapped become the alternate stack of this thread.
    unsafe {
        let pages = libc::mmap(
            std::ptr::null_mut(),
            REPORT_STACK_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        );
        if pages != libc::MAP_FAILED {
            let stack = libc::stack_t { ss_sp: pages, ss_flags: 0, ss_size: REPORT_STACK_BYTES };
            libc::sigaltstack(&stack, std::ptr::null_mut());
        }
    }
}

extern "C" fn on_fatal_signal(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if ENABLED.load(Ordering::Relaxed) && !REPORTED.load(Ordering::Relaxed) {
        start_report();
        // SAFETY: the kernel passes a valid structure to a handler installed with SA_SIGINFO; the address is there
        // for the faults that have one.
        let (code, address, sender) =
            unsafe { ((*info).si_code, (*info).si_addr() as usize, (*info).si_pid()) };
        log::write(3, &format!("valkey {VERSION} crashed by signal: {signal}, si_code: {code}"));
        if code > 0 && matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
            log::write(3, &format!("Accessing address: {address:#x}"));
        }
        // Not sent by the kernel but by a process.
        if code <= 0 {
            log::write(3, &format!("Killed by PID: {sender}"));
        }
        report_state(&Backtrace::force_capture());
    }
    die(signal);
}

fn start_report() {
    // SAFETY: alarm has no preconditions; its signal's default action ends the process.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(REPORT_SECONDS_MAX);
    }
    REPORTED.store(true, Ordering::Relaxed);
    log::raw("\n\n=== VALKEY BUG REPORT START: Cut & paste starting from here ===\n");
}

/// Backtrace, INFO, CLIENT LIST, settings.
fn report_state(backtrace: &Backtrace) {
    let thread = std::thread::current();
    log::raw(&format!(
        "\n------ STACK TRACE ------\nSkuld {} in thread {}\n{backtrace}\n------ STACK TRACE DONE ------\n",
        env!("CARGO_PKG_VERSION"),
        thread.name().unwrap_or("?")
    ));
    if let Some(server) = SERVER.get() {
        log::raw("\n------ INFO OUTPUT ------\n");
        log::raw(&crate::server_commands::info::for_crash_report(server));
        log::raw("\n------ CLIENT LIST OUTPUT ------\n");
        log::raw(&crate::server_commands::client::list_for_crash_report(server));
        log::raw("\n------ CONFIG DEBUG OUTPUT ------\n");
        let config = server.config.load();
        for row in skuld::config::TABLE.iter().filter(|r| r.flags.has(skuld::config::Flags::DEBUG)) {
            log::raw(&format!("{} {}\n", row.name, String::from_utf8_lossy(&row.get(&config))));
        }
    }
    log::raw("\n=== VALKEY BUG REPORT END. Make sure to include from START to END. ===\n\n");
}

/// What every thread is doing as far as the system tells: for whoever sends SIGALRM to a server that seems stuck.
pub fn report_threads() {
    let mut text = String::from("\n------ STACK TRACE ------\n");
    for entry in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let stat = read("stat");
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?');
        let (thread, name, call) = (entry.file_name(), read("comm"), read("syscall"));
        let call = call.split(' ').next().unwrap_or_default().trim();
        text += &format!("{} {} state {state} system call {call}\n", thread.display(), name.trim());
    }
    log::raw(&(text + "\n------ STACK TRACE DONE ------\n"));
}

/// Ends the process by the signal, as if nobody had watched for it.
fn die(signal: i32) -> ! {
    // SAFETY: restoring a default action and raising a signal have no preconditions.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    // Blocked signals do not end the process; this does.
    std::process::abort();
}
