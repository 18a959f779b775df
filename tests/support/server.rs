//! Starting and stopping Skuld and the reference server.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;

/// How long a server may take from start to its first answer, and from a signal to its end.
pub const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A directory that disappears with its owner.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("skuld-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("SKULD_KEEP_TEMP").is_some() {
            eprintln!("kept {}", self.0.display());
            return;
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A TCP port that nobody listened on a moment ago. Ports are taken below the range the kernel hands to outgoing
/// connections, starting at a place that depends on the process, so that tests running at once seldom meet.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const SPAN: u32 = 18_000;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + (std::process::id().wrapping_mul(131).wrapping_add(step)) % SPAN) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The binary under test: `SKULD_SERVER`, else the one cargo built for this test.
pub fn skuld_binary() -> PathBuf {
    std::env::var_os("SKULD_SERVER")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_skuld-server")))
}

/// Whether the binary under test is a reference server put in Skuld's place, to try the tests themselves.
pub fn testing_the_reference() -> bool {
    let name = skuld_binary().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.contains("valkey") || name.contains("redis")
}

/// The reference server: `VALKEY_SERVER`, else `target/valkey/valkey-server` as `tests/fetch-valkey.sh` leaves it.
/// When there is none: says so and answers `None`, or fails if `CI` is `true`.
pub fn reference_binary(what: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let path = std::env::var_os("VALKEY_SERVER")
        .map(PathBuf::from)
        .unwrap_or_else(|| root.join("target/valkey/valkey-server"));
    if path.is_file() {
        return Some(path);
    }
    let missing = format!(
        "no reference server at {} (set VALKEY_SERVER, or run tests/fetch-valkey.sh)",
        path.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} must run in CI, but there is {missing}");
    eprintln!("SKIPPED: {what}: {missing}");
    None
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_path_buf()
}

/// How a server is to be started.
#[derive(Clone)]
pub struct Launch {
    binary: PathBuf,
    config: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    label: &'static str,
}

impl Launch {
    /// Skuld with that many workers.
    pub fn skuld(workers: usize) -> Self {
        let mut launch = Self::binary(skuld_binary(), "skuld");
        if !testing_the_reference() {
            launch = launch.option("worker-threads", &workers.to_string());
        }
        launch
    }

    pub fn reference(binary: &Path) -> Self {
        Self::binary(binary.to_path_buf(), "reference")
    }

    fn binary(binary: PathBuf, label: &'static str) -> Self {
        Self { binary, config: None, arguments: Vec::new(), environment: Vec::new(), label }
    }

    /// One `--name value` pair.
    pub fn option(self, name: &str, value: &str) -> Self {
        self.argument(&format!("--{name}")).argument(value)
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The text of a configuration file that is given as the first argument.
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// Starts on a free port and waits until it answers PING.
    pub fn start(&self) -> Server {
        // Another process may take the port between our look and the server's bind; then another port is tried.
        for _ in 0..3 {
            let mut server = self.spawn(free_port());
            if server.wait_until_ready() {
                return server;
            }
            let log = server.log();
            assert!(log.contains("Failed listening on port"), "{} did not start:\n{log}", self.label);
        }
        panic!("{}: three ports in a row were taken", self.label);
    }

    /// Starts on the given port without waiting.
    pub fn spawn(&self, port: u16) -> Server {
        let dir = TempDir::new();
        let log_path = dir.path().join("server.out");
        let log = File::create(&log_path).expect("the temporary directory is writable");
        let mut command = Command::new(&self.binary);
        // What is needed to start it again as it was.
        let mut arguments: Vec<String> = Vec::new();
        if let Some(text) = &self.config {
            let path = dir.path().join("server.conf");
            fs::write(&path, text).expect("the temporary directory is writable");
            arguments.push(path.display().to_string());
        }
        let dir_name = dir.path().display().to_string();
        let usual =
            ["--port", &port.to_string(), "--dir", &dir_name, "--save", "", "--enable-debug-command", "yes"];
        arguments.extend(usual.map(str::to_owned));
        arguments.extend(self.arguments.iter().cloned());
        command
            .args(&arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        let again = (self.binary.clone(), arguments, self.environment.clone());
        Server { child, port, dir, log_path, label: self.label, status: None, again }
    }

    /// Runs to its end with exactly these arguments, none added; for tests of the command line. A process that does
    /// not end within [`START_TIMEOUT`] is killed.
    pub fn run_bare(binary: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
        let mut child = Command::new(binary)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let deadline = Instant::now() + START_TIMEOUT;
        while child.try_wait().expect("the child is ours").is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.wait_with_output().expect("the child is ours")
    }
}

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    dir: TempDir,
    log_path: PathBuf,
    pub label: &'static str,
    status: Option<ExitStatus>,
    again: (PathBuf, Vec<String>, Vec<(String, String)>),
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.label, self.log_tail()))
    }

    /// Everything the server wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log_path).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Waits for an answer to PING, an error (such as NOAUTH) included. False when the process ended instead.
    pub fn wait_until_ready(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.exit_status().is_some() {
                return false;
            }
            if let Ok(mut client) = Client::connect(self.address())
                && let Ok(frame) = client.call(&[b"PING".to_vec()])
                && !frame.raw.starts_with(b"-LOADING")
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} did not answer PING within {START_TIMEOUT:?}:\n{}", self.label, self.log_tail());
    }

    /// Waits until the log holds `text`.
    pub fn wait_for_log(&mut self, text: &str) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.log().contains(text) {
            let ended = self.exit_status().is_some() && !self.log().contains(text);
            assert!(
                !ended && Instant::now() < deadline,
                "{}: no {text:?} in:\n{}",
                self.label,
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How the process ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the child is ours");
        }
        self.status
    }

    /// Waits for the end of the process.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end:\n{}", self.label, self.log_tail());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the process without warning and starts it again in the same directory, on the same port.
    pub fn kill_and_restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = File::options().append(true).open(&self.log_path).expect("the log is there");
        let (binary, arguments, environment) = &self.again;
        let child = Command::new(binary)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn();
        self.child = child.unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        self.status = None;
        assert!(self.wait_until_ready(), "{} did not start again:\n{}", self.label, self.log_tail());
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} failed");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
