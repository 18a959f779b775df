//! What the operating system keeps for the process: files it may open, its place among other processes, its
//! processors, its supervisor.

use std::sync::Mutex;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use skuld::config::{Config, OomScoreAdj, Supervised};

use crate::configure::os_text;

/// Descriptors kept for files, listeners and links, as in Valkey.
const RESERVED_FILES: u64 = 32;

/// Raises the limit of open files for `maxclients`, or lowers `maxclients` to what the limit allows.
///
/// # Errors
/// When not even a few clients fit; the text to log.
pub fn adjust_open_files(config: &mut Config) -> Result<(), String> {
    let wanted = u64::from(config.maxclients) + RESERVED_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        tracing::warn!("Unable to obtain the current NOFILE limit, assuming 1024.");
        config.maxclients = 1024 - RESERVED_FILES as u32;
        return Ok(());
    };
    if soft >= wanted {
        return Ok(());
    }
    let mut best = wanted;
    let mut refusal = None;
    while best > soft {
        match setrlimit(Resource::RLIMIT_NOFILE, best, hard.max(best)) {
            Ok(()) => break,
            Err(e) => {
                refusal = Some(e);
                best = best.saturating_sub(16);
            }
        }
    }
    let best = best.max(soft);
    if best >= wanted {
        tracing::info!("Increased maximum number of open files to {best} (it was originally set to {soft}).");
        return Ok(());
    }
    let asked = config.maxclients;
    if best <= RESERVED_FILES {
        return Err(format!(
            "Your current 'ulimit -n' of {soft} is not enough for the server to start. Please increase your open \
             file limit to at least {wanted}. Exiting."
        ));
    }
    config.maxclients = (best - RESERVED_FILES) as u32;
    tracing::warn!("You requested maxclients of {asked} requiring at least {wanted} max file descriptors.");
    let reason = refusal.map_or_else(String::new, |e| os_text(&e.into()));
    tracing::warn!("Server can't set maximum open files to {wanted} because of OS error: {reason}.");
    tracing::warn!(
        "Current maximum open files is {best}. maxclients has been reduced to {} to compensate for low ulimit. If \
         you need higher maxclients increase 'ulimit -n'.",
        config.maxclients
    );
    Ok(())
}

/// Whether `maxclients` clients fit into the limit of open files, raising it if needed (CONFIG SET).
pub fn files_suffice(maxclients: u32) -> bool {
    let wanted = u64::from(maxclients) + RESERVED_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
    soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok()
}

/// How many clients the present limit of open files allows.
pub fn possible_clients() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft.saturating_sub(RESERVED_FILES))
}

/// Goes to the background. Call before any thread is started.
pub fn daemonize() {
    // SAFETY: the process has one thread, so the child may go on like the parent; the descriptors are checked.
    unsafe {
        if libc::fork() != 0 {
            libc::_exit(0);
        }
        libc::setsid();
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null >= 0 {
            for standard in 0..3 {
                libc::dup2(null, standard);
            }
            if null > 2 {
                libc::close(null);
            }
        }
    }
}

/// The pid file's path if there is to be one: Valkey writes one when told to, or when it goes to the background.
pub fn pidfile_of(config: &Config) -> Option<String> {
    match config.pidfile.is_empty() {
        false => Some(config.pidfile.to_str().into_owned()),
        true if config.daemonize => Some("/var/run/valkey.pid".to_owned()),
        true => None,
    }
}

/// Writes the pid file.
pub fn write_pidfile(config: &Config) {
    let Some(path) = pidfile_of(config) else { return };
    if let Err(e) = std::fs::write(&path, format!("{}\n", std::process::id())) {
        tracing::warn!("Failed to write PID file: {}", os_text(&e));
    }
}

/// Removes the pid file.
pub fn remove_pidfile(config: &Config) {
    let Some(path) = pidfile_of(config) else { return };
    tracing::info!("Removing the pid file.");
    let _ = std::fs::remove_file(path);
}

/// Whether a supervisor watches us, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    None,
    Upstart,
    Systemd,
}

/// Finds the supervisor the configuration speaks of.
pub fn supervisor(config: &Config) -> Supervisor {
    let has = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let (upstart, systemd) = (has("UPSTART_JOB"), has("NOTIFY_SOCKET"));
    match config.supervised {
        Supervised::No => Supervisor::None,
        Supervised::Upstart if upstart => Supervisor::Upstart,
        Supervised::Upstart => {
            tracing::warn!("upstart supervision requested, but UPSTART_JOB not found!");
            Supervisor::None
        }
        Supervised::Systemd if systemd => Supervisor::Systemd,
        Supervised::Systemd => {
            tracing::warn!("systemd supervision requested or auto-detected, but NOTIFY_SOCKET not found!");
            Supervisor::None
        }
        Supervised::Auto if upstart => Supervisor::Upstart,
        Supervised::Auto if systemd => Supervisor::Systemd,
        Supervised::Auto => Supervisor::None,
    }
}

/// Tells upstart that the job runs: it stops itself, and upstart continues it.
pub fn tell_upstart() {
    tracing::info!("supervised by upstart, will stop to signal readiness.");
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
}

/// Sends a state to systemd: one datagram to the socket that NOTIFY_SOCKET names.
pub fn notify_systemd(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = (|| {
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    })();
    if let Err(e) = sent {
        tracing::warn!("Cannot tell systemd about readiness: {}", os_text(&e));
    }
}

/// The out-of-memory score before we changed it; None while it is not ours.
static OOM_BASE: Mutex<Option<i32>> = Mutex::new(None);
const OOM_FILE: &str = "/proc/self/oom_score_adj";

/// Sets the kernel's out-of-memory score as configured for a primary or a replica, or back to what it was.
///
/// # Errors
/// When the kernel refuses it.
pub fn apply_oom_score(config: &Config, is_replica: bool) -> std::io::Result<()> {
    let mut known = OOM_BASE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if config.oom_score_adj == OomScoreAdj::No && known.is_none() {
        return Ok(());
    }
    let base = *known.get_or_insert_with(|| {
        std::fs::read_to_string(OOM_FILE).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
    });
    let value = config.oom_score_adj_values[usize::from(is_replica)];
    let wanted = match config.oom_score_adj {
        OomScoreAdj::No => {
            *known = None;
            base
        }
        OomScoreAdj::Relative => base.saturating_add(value),
        OomScoreAdj::Absolute => value,
    };
    std::fs::write(OOM_FILE, wanted.clamp(-1000, 1000).to_string())
        .inspect_err(|e| tracing::warn!("Unable to write oom_score_adj: {}", os_text(e)))
}

/// Reads a list such as `0-3,6,8-14:2`: ranges with an optional step.
pub fn parse_cpulist(text: &str) -> Option<Vec<usize>> {
    /// The processors a mask can name.
    const CPUS_MAX: usize = 1024;
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|s| *s > 0)?),
            None => (part, 1),
        };
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (low.parse::<usize>().ok()?, high.parse::<usize>().ok()?),
            None => {
                let one = range.parse::<usize>().ok()?;
                (one, one)
            }
        };
        if low > high || high >= CPUS_MAX {
            return None;
        }
        cpus.extend((low..=high).step_by(step));
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// Binds the calling thread, and threads it starts later, to the processors of a list; an empty list changes
/// nothing.
pub fn bind_to_cpus(list: &str) {
    if list.is_empty() {
        return;
    }
    let Some(cpus) = parse_cpulist(list) else {
        tracing::warn!("The CPU list '{list}' cannot be understood and has no effect.");
        return;
    };
    let mut set = nix::sched::CpuSet::new();
    let all_known = cpus.into_iter().all(|cpu| set.set(cpu).is_ok());
    let bound = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    if !all_known || bound.is_err() {
        tracing::warn!("The CPU list '{list}' could not be put into effect.");
    }
}

/// Asks the kernel not to use huge pages for this process: they make small writes copy much memory.
pub fn disable_huge_pages() {
    // SAFETY: this prctl takes numbers only.
    let refused = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0;
    if refused {
        tracing::debug!("The kernel keeps transparent huge pages for this process.");
    }
}

/// Names the calling thread; the kernel keeps 15 bytes.
pub fn name_thread(name: &str) {
    let Ok(name) = std::ffi::CString::new(&name.as_bytes()[..name.len().min(15)]) else { return };
    // SAFETY: the pointer is valid for the call; the kernel copies the name.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::parse_cpulist;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpulist("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse_cpulist("0-6:3, 9"), Some(vec![0, 3, 6, 9]));
        for bad in ["", "x", "3-1", "1-2:0", "0-99999", "-"] {
            assert_eq!(parse_cpulist(bad), None, "{bad}");
        }
    }
}
