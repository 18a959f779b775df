//! Starting one of the two servers alone on processor 0, and reading what the kernel knows about it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Skuld,
    Valkey,
}

/// Where the two servers and the allocator Valkey ships with are.
pub struct Binaries {
    skuld: PathBuf,
    valkey: PathBuf,
    jemalloc: Option<PathBuf>,
}

impl Binaries {
    /// Skuld as cargo built it; Valkey from `VALKEY_SERVER` or as the tests fetched it; Debian's jemalloc, because
    /// the reference binary was built without one and would look worse than what people run.
    pub fn find() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let valkey = std::env::var_os("VALKEY_SERVER").map_or_else(
            || {
                let fetch = Command::new("bash").arg(root.join("tests/fetch-valkey.sh")).status();
                assert!(fetch.is_ok_and(|s| s.success()), "cannot fetch the reference server");
                root.join("target/valkey/valkey-server")
            },
            PathBuf::from,
        );
        let jemalloc = PathBuf::from("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2");
        let jemalloc = jemalloc.exists().then_some(jemalloc);
        if jemalloc.is_none() {
            eprintln!("warning: libjemalloc2 is not installed; the reference runs with libc's malloc");
        }
        let skuld = std::env::var_os("SKULD_SERVER")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_skuld-server")), PathBuf::from);
        Self { skuld, valkey, jemalloc }
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    bus_port: u16,
    dir: Dir,
}

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.expect("a free port").port()
}

/// Pins the calling thread (or the process about to be executed) to processors `from..to`.
pub fn pin(from: usize, to: usize) -> std::io::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    for cpu in from..to {
        set.set(cpu)?;
    }
    Ok(nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?)
}

impl Server {
    /// Starts a server on processor 0 (Skuld with several workers: on all of them) and waits until it answers.
    pub fn start(binaries: &Binaries, kind: Kind, workers: u32) -> Self {
        let processors = if kind == Kind::Skuld { workers.max(1) as usize } else { 1 };
        Self::start_with(binaries, kind, workers, processors, &[])
    }

    /// Starts a cluster node, on all processors.
    pub fn start_node(binaries: &Binaries, kind: Kind, workers: u32) -> Self {
        Self::start_member(binaries, kind, workers, &[])
    }

    /// The same with further options.
    pub fn start_member(binaries: &Binaries, kind: Kind, workers: u32, more: &[&str]) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let port = free_port().to_string();
        let own = ["--cluster-enabled", "yes", "--cluster-port", &port];
        let options = [own.as_slice(), more].concat();
        let mut server = Self::start_with(binaries, kind, workers, processors, &options);
        server.bus_port = port.parse().unwrap_or(0);
        server
    }

    /// The port of the cluster bus, of a node.
    pub fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// Starts a server with further options on the first `processors` processors.
    pub fn start_with(
        binaries: &Binaries,
        kind: Kind,
        workers: u32,
        processors: usize,
        options: &[&str],
    ) -> Self {
        Self::start_as(&[], binaries, kind, (workers, processors), options)
    }

    /// Starts a server with one worker under strace, which counts its fsync and fdatasync calls; a table of them is in
    /// the file when the server has ended.
    pub fn start_counting_syncs(binaries: &Binaries, kind: Kind, options: &[&str]) -> (Self, PathBuf) {
        let counts = std::env::temp_dir().join(format!("skuld-bench-{}-syncs", std::process::id()));
        let file = counts.to_string_lossy().into_owned();
        let calls = "trace=fsync,fdatasync";
        let wrapper = ["strace", "--seccomp-bpf", "-f", "-c", "-o", &file, "-e", calls];
        (Self::start_as(&wrapper, binaries, kind, (1, 2), options), counts)
    }

    fn start_as(
        wrapper: &[&str],
        binaries: &Binaries,
        kind: Kind,
        (workers, processors): (u32, usize),
        options: &[&str],
    ) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("skuld-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the server");
        let binary = match kind {
            Kind::Skuld => &binaries.skuld,
            Kind::Valkey => &binaries.valkey,
        };
        let mut command = match wrapper {
            [] => Command::new(binary),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        command.args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"]);
        command.args(["--enable-debug-command", "yes", "--dir"]).arg(&dir).args(options);
        match kind {
            Kind::Skuld => {
                command.args(["--worker-threads", &workers.to_string()]);
            }
            Kind::Valkey => {
                if let Some(jemalloc) = &binaries.jemalloc {
                    command.env("LD_PRELOAD", jemalloc);
                }
            }
        }
        // SAFETY: only calls sched_setaffinity, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || pin(0, processors));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts");
        let server = Self { child, port, bus_port: 0, dir: Dir(dir) };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(mut s) = TcpStream::connect(("127.0.0.1", port)) {
                let mut reply = [0; 7];
                if s.write_all(b"PING\r\n").is_ok()
                    && s.read_exact(&mut reply).is_ok()
                    && &reply == b"+PONG\r\n"
                {
                    return server;
                }
            }
            assert!(Instant::now() < deadline, "{kind:?} does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// User and system time of all its threads so far, microseconds.
    pub fn cpu_us(&self) -> (f64, f64) {
        // Per-thread runtimes have nanoseconds, but not split; /proc/pid/stat splits, in ticks. Scale the split to
        // the exact sum.
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the server lives");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("stat has fields").split(' ').collect();
        let ticks = |i: usize| fields[i].parse::<f64>().expect("a number");
        (ticks(11) * 10_000.0, ticks(12) * 10_000.0)
    }

    /// Time its threads have run so far, nanoseconds; with a name, only those of that name.
    pub fn threads_ns(&self, name: Option<&str>) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server lives");
        let of_task = |path: PathBuf| {
            let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let ns: u64 = text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            if name.is_none_or(|name| name == comm.trim()) { ns } else { 0 }
        };
        tasks.flatten().map(|task| of_task(task.path())).sum()
    }

    /// Resident bytes that are not of a file.
    pub fn anonymous(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()));
        let text = text.expect("the server lives");
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("Anonymous");
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("kB") * 1024
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) {
        let _ = self.child.wait();
    }

    /// Bytes of memory of the server and its children, what they share counted once.
    pub fn memory_with_children(&self) -> u64 {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let all = children.split_whitespace().filter_map(|id| id.parse().ok()).chain([id]);
        all.map(proportional_bytes).sum()
    }

    /// Resident bytes.
    pub fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server lives");
        let line = status.lines().find(|l| l.starts_with("VmRSS")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("kB") * 1024
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server accepts");
        stream.set_nodelay(true).expect("nodelay");
        stream
    }
}

/// Resident bytes of a process; pages it shares with others count in parts.
fn proportional_bytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// What this was measured on.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or("unknown processor")
        .to_owned();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} processors, Linux {}", kernel.trim())
}
