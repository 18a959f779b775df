//! The admin page as a person sees it, in a real headless Chromium: a running slot migration, the server away and back,
//! and what a page left open costs. Without Chromium or Node the test says so and passes; not so when `CI=true`.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use support::programs::{npm_package, skip};
use support::server::{Launch, Server, free_port, repository};

const PLAYWRIGHT: &str = "playwright-core@1.64.1";

/// The script that drives the browser: it says a word after each step and waits for a line before the next.
struct Browser {
    child: Child,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
}

impl Browser {
    fn open(library: &Path, chromium: &Path, url: &str) -> Self {
        let pictures = repository().join("target/admin-page");
        std::fs::create_dir_all(&pictures).expect("a directory for the pictures");
        let mut child = Command::new("node")
            .arg(repository().join("tests/clients/page.cjs"))
            .args([chromium, Path::new(url), &pictures])
            .env("NODE_PATH", library.join("node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let orders = child.stdin.take().expect("a pipe");
        let words = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, orders, words }
    }

    /// Waits until the script has seen what it looks for.
    fn has_seen(&mut self, step: &str) {
        let mut word = String::new();
        self.words.read_line(&mut word).expect("a word");
        assert_eq!(word.trim(), step, "the reason is on the standard error");
    }

    fn go_on(&mut self) {
        writeln!(self.orders, "go on").expect("the script waits");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time a process has used, in clock ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("user") + fields[12].parse::<u64>().expect("system")
}

fn two_nodes(admin: u16) -> (Launch, Server, Server) {
    let node = || {
        let bus = free_port().to_string();
        Launch::skuld(1).option("cluster-enabled", "yes").option("cluster-port", &bus)
    };
    let source = node().option("admin-port", &admin.to_string());
    let (first, second) = (source.start(), node().start());
    let (mut a, mut b) = (first.connect(), second.connect());
    assert_eq!(a.ask("CLUSTER ADDSLOTSRANGE 0 8191").text(), "OK");
    assert_eq!(b.ask("CLUSTER ADDSLOTSRANGE 8192 16383").text(), "OK");
    assert_eq!(b.ask("CLUSTER SET-CONFIG-EPOCH 2").text(), "OK");
    let bus = b.ask("CONFIG GET cluster-port").items()[1].text();
    a.ask(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", second.port));
    let deadline = Instant::now() + Duration::from_secs(30);
    for client in [&mut a, &mut b] {
        while !client.ask("CLUSTER INFO").text().contains("cluster_state:ok") {
            assert!(Instant::now() < deadline, "a cluster of two");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    (source, first, second)
}

#[test]
fn a_browser_shows_a_migration_and_survives_a_restart() {
    let chromium =
        PathBuf::from(std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned()));
    if !chromium.exists() {
        return skip("Chromium", "there is none");
    }
    let library = match npm_package(PLAYWRIGHT) {
        Ok(library) => library,
        Err(reason) => return skip("playwright-core", &reason),
    };
    let admin = free_port();
    let (launch, source, target) = two_nodes(admin);
    let mut client = source.connect();
    let mut browser = Browser::open(&library, &chromium, &format!("http://127.0.0.1:{admin}/"));
    browser.has_seen("open");

    // A held job, to be looked at for as long as it takes.
    assert_eq!(client.ask("DEBUG SLOTMIGRATION PREVENT-PAUSE 1").text(), "OK");
    let id = target.connect().ask("CLUSTER MYID").text();
    assert_eq!(client.ask(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 200 NODE {id}")).text(), "OK");
    browser.go_on();
    browser.has_seen("migration");
    assert_eq!(client.ask("DEBUG SLOTMIGRATION PREVENT-PAUSE 0").text(), "OK");
    browser.go_on();
    browser.has_seen("finished");

    // The page asks every two seconds: a few milliseconds each time.
    let before = ticks(source.process_id());
    std::thread::sleep(Duration::from_secs(6));
    let used = ticks(source.process_id()) - before;
    assert!(used <= 60, "{used}0 ms of processor time in 6 s with the page open");

    let port = source.port;
    drop(source);
    browser.go_on();
    browser.has_seen("gone");
    let mut source = launch.spawn(port);
    assert!(source.wait_until_ready(), "{}", source.log_tail());
    browser.go_on();
    browser.has_seen("back");
    browser.go_on();
    let status = browser.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}
