//! The process contract: command line, exit codes, log lines, signals, configuration errors, first words on a connection.
//! Needs no reference server.

mod support;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};

use support::client::Client;
use support::server::{Launch, Server, TempDir, free_port, skuld_binary, testing_the_reference};

fn skuld() -> Launch {
    Launch::skuld(1)
}

/// Runs to the end with nothing added to the arguments.
fn run(arguments: &[&str]) -> Output {
    Launch::run_bare(&skuld_binary(), arguments, &[])
}

fn all_output(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The refusal of a configuration: exit code 1, the fixed block, and what the test looks for.
fn assert_refused(output: &Output, parts: &[&str]) {
    let text = all_output(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in
        ["*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***", "Reading the configuration file, at line "]
            .iter()
            .chain(parts)
    {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

fn write_config(dir: &TempDir, text: &str) -> String {
    let path = dir.path().join("test.conf");
    fs::write(&path, text).expect("the temporary directory is writable");
    path.display().to_string()
}

fn directive(server: &Server, name: &str) -> String {
    let reply = server.connect().ask(&format!("CONFIG GET {name}"));
    reply.entries().first().map(|(_, value)| value.text()).unwrap_or_else(|| panic!("{name}: {reply}"))
}

// --- the command line

#[test]
fn version_is_printed_and_ends_with_zero() {
    for flag in ["--version", "-v"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("v=9.1.2 "), "{}", all_output(&output));
    }
}

#[test]
fn help_names_the_ways_to_start() {
    for flag in ["--help", "-h"] {
        let text = all_output(&run(&[flag]));
        assert!(text.contains("Usage: ") && text.contains("--port"), "{text}");
    }
}

#[test]
fn options_override_the_file_and_standard_input_comes_between() {
    let dir = TempDir::new();
    let path = write_config(&dir, "maxmemory 1mb\ntimeout 11\nhz 20\n");
    let port = free_port().to_string();
    let mut child = Command::new(skuld_binary())
        .args([&path, "--port", &port, "--hz", "40", "--save", "", "-"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"timeout 22\nhz 30\n")
        .expect("the server reads its standard input");
    let address = (Ipv4Addr::LOCALHOST, port.parse::<u16>().expect("a port")).into();
    let deadline = std::time::Instant::now() + support::server::START_TIMEOUT;
    let mut client = loop {
        match Client::connect(address) {
            Ok(client) => break client,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let values: Vec<String> = ["maxmemory", "timeout", "hz"]
        .iter()
        .map(|name| client.ask(&format!("CONFIG GET {name}")).items()[1].text())
        .collect();
    client.send(&support::text::words("SHUTDOWN NOSAVE"));
    let status = child.wait().expect("the child is ours");
    assert_eq!(values, ["1048576", "22", "40"]);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn one_argument_may_hold_name_and_value() {
    let server = skuld().argument("--maxmemory 2mb").start();
    assert_eq!(directive(&server, "maxmemory"), "2097152");
}

#[test]
fn values_of_several_words_reach_to_the_next_option() {
    let launch = ["--client-output-buffer-limit", "pubsub", "16mb", "8mb", "30", "--hz", "33"];
    let server = launch.iter().fold(skuld(), |launch, argument| launch.argument(argument)).start();
    assert!(directive(&server, "client-output-buffer-limit").ends_with("pubsub 16777216 8388608 30"));
    assert_eq!(directive(&server, "hz"), "33");
}

#[test]
fn quoting_overriding_includes_and_old_names_in_files() {
    let dir = TempDir::new();
    let included = dir.path().join("more.conf");
    fs::write(&included, "timeout 77\nslave-priority 42\n").expect("the temporary directory is writable");
    let server = skuld()
        .config(&format!(
            "# a comment\n\n  maxmemory   1gb\nMAXMEMORY 3mb\nrequirepass \"\\x73ecret\"\nhash-max-ziplist-entries 7\ninclude '{}'\n",
            included.display()
        ))
        .start();
    let mut client = server.connect();
    assert_eq!(client.ask("AUTH secret").text(), "OK");
    for (name, value) in [
        ("maxmemory", "3145728"),
        ("hash-max-listpack-entries", "7"),
        ("timeout", "77"),
        ("replica-priority", "42"),
    ] {
        assert_eq!(client.ask(&format!("CONFIG GET {name}")).items()[1].text(), value, "{name}");
    }
}

#[test]
fn the_directory_is_entered_and_must_exist() {
    assert_refused(&run(&["--dir", "/nonexistent/directory"]), &["dir"]);
    let dir = TempDir::new();
    let server = skuld().option("dir", &dir.path().display().to_string()).start();
    assert_eq!(
        directive(&server, "dir"),
        dir.path().canonicalize().expect("it exists").display().to_string()
    );
}

#[test]
fn called_by_the_name_of_the_reference_it_behaves_the_same() {
    let dir = TempDir::new();
    for name in ["valkey-server", "redis-server"] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(skuld_binary(), &link).expect("a symbolic link can be made");
        let output = Launch::run_bare(&link, &["--version"], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(all_output(&output).contains("v=9.1.2 "), "{}", all_output(&output));
    }
}

// --- configuration errors

#[test]
fn an_unknown_directive_is_refused_with_its_line() {
    let dir = TempDir::new();
    let path = write_config(&dir, "timeout 10\nmaxmemry 1gb\n");
    assert_refused(&run(&[&path]), &["at line 2", ">>> 'maxmemry 1gb'"]);
}

#[test]
fn a_bad_value_is_refused_with_its_line() {
    let dir = TempDir::new();
    for line in [
        "port abc",
        "maxmemory 10xb",
        "appendonly maybe",
        "maxmemory-policy foo",
        "databases 0",
        "save 1 x",
        "\"unbalanced",
    ] {
        let path = write_config(&dir, &format!("# first\n{line}\n"));
        assert_refused(&run(&[&path]), &["at line 2", &format!(">>> '{line}'")]);
    }
}

#[test]
fn a_bad_option_of_the_command_line_is_refused() {
    assert_refused(&run(&["--nosuchoption", "1"]), &[">>> 'nosuchoption "]);
    assert_refused(&run(&["--port", "70000"]), &[">>> 'port "]);
    assert_refused(&run(&["--port"]), &[">>> 'port"]);
}

#[test]
fn a_missing_file_ends_with_one() {
    let output = run(&["/nonexistent/skuld.conf"]);
    assert_eq!(output.status.code(), Some(1), "{}", all_output(&output));
    assert!(all_output(&output).contains("/nonexistent/skuld.conf"), "{}", all_output(&output));
}

#[test]
fn all_errors_are_told_at_once_with_the_nearest_name() {
    if testing_the_reference() {
        return;
    }
    let dir = TempDir::new();
    let path = write_config(&dir, "maxmemry 1gb\nport abc\ntimeout 5\nappendonly maybe\n");
    let output = run(&[&path]);
    assert_refused(&output, &["at line 1", "maxmemory"]);
    let text = all_output(&output);
    for part in ["port abc", "appendonly maybe"] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn check_config_only_checks() {
    if testing_the_reference() {
        return;
    }
    let dir = TempDir::new();
    let good = write_config(&dir, "maxmemory 1gb\n");
    assert_eq!(run(&[&good, "--check-config"]).status.code(), Some(0));
    let bad = write_config(&dir, "maxmemory 1gib\n");
    assert_eq!(run(&[&bad, "--check-config"]).status.code(), Some(1));
}

#[test]
fn lenient_config_starts_with_unknown_directives() {
    if testing_the_reference() {
        return;
    }
    let server = skuld().config("future-directive 5\nmaxmemory 5mb\n").argument("--lenient-config").start();
    assert_eq!(directive(&server, "maxmemory"), "5242880");
    assert!(server.log().contains("future-directive"), "{}", server.log());
}

#[test]
fn modules_and_sentinel_are_refused_clearly() {
    if testing_the_reference() {
        return;
    }
    for arguments in [["--loadmodule", "/x.so"].as_slice(), &["--sentinel"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", all_output(&output));
        let word = arguments[0].trim_start_matches('-');
        let word = if word == "loadmodule" { "odule" } else { "entinel" };
        assert!(all_output(&output).contains(word), "{}", all_output(&output));
    }
}

#[test]
fn environment_lies_between_file_and_command_line() {
    if testing_the_reference() {
        return;
    }
    let dir = TempDir::new();
    let secret = dir.path().join("password");
    fs::write(&secret, "hidden\n").expect("the temporary directory is writable");
    let server = skuld()
        .config("maxmemory 1mb\ntimeout 5\nhz 20\n")
        .environment("SKULD_CONF_MAXMEMORY", "2mb")
        .environment("SKULD_CONF_HZ", "30")
        .environment("SKULD_CONF_REQUIREPASS_FILE", &secret.display().to_string())
        .option("hz", "40")
        .start();
    let mut client = server.connect();
    assert!(client.ask("PING").is_error());
    assert_eq!(client.ask("AUTH hidden").text(), "OK");
    for (name, value) in [("maxmemory", "2097152"), ("timeout", "5"), ("hz", "40")] {
        assert_eq!(client.ask(&format!("CONFIG GET {name}")).items()[1].text(), value, "{name}");
    }
    // A rewritten file must not hold what came from the environment.
    assert_eq!(client.ask("CONFIG REWRITE").text(), "OK");
    let text = fs::read_to_string(server.dir().join("server.conf")).expect("the file is still there");
    assert!(!text.contains("hidden") && !text.contains("2mb") && !text.contains("2097152"), "{text}");
}

#[test]
fn a_bad_environment_value_is_refused() {
    if testing_the_reference() {
        return;
    }
    let output = Launch::run_bare(&skuld_binary(), &["--port", "0"], &[("SKULD_CONF_MAXMEMORY", "lots")]);
    assert_eq!(output.status.code(), Some(1), "{}", all_output(&output));
    assert!(all_output(&output).contains("SKULD_CONF_MAXMEMORY"), "{}", all_output(&output));
}

#[test]
fn config_rewrite_keeps_comments_and_what_was_set() {
    let server = skuld().config("# keep me\nmaxmemory 1mb\n\n# and me\ntimeout 5\n").start();
    let mut client = server.connect();
    assert_eq!(client.ask("CONFIG SET maxmemory 3mb").text(), "OK");
    assert_eq!(client.ask("CONFIG SET hz 55").text(), "OK");
    assert_eq!(client.ask("CONFIG REWRITE").text(), "OK");
    let text = fs::read_to_string(server.dir().join("server.conf")).expect("the file is still there");
    for line in ["# keep me", "# and me", "maxmemory 3mb", "timeout 5", "hz 55"] {
        assert!(text.lines().any(|found| found == line), "{line:?} is missing in:\n{text}");
    }
}

// --- log

/// `<pid>:<role> <DD Mon YYYY HH:MM:SS.mmm> <level> <text>`, or, written from within a signal handler,
/// `<pid>:signal-handler (<seconds>) <text>`.
fn is_log_line(line: &str, process_id: u32) -> bool {
    let Some(rest) = line.strip_prefix(&format!("{process_id}:")) else { return false };
    if rest.starts_with("signal-handler (") {
        return true;
    }
    let words: Vec<&str> = rest.splitn(7, ' ').collect();
    let [role, day, month, year, time, level, _text] = words[..] else { return false };
    let digits =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let clock: Vec<&str> = time.split([':', '.']).collect();
    matches!(role, "M" | "S" | "C" | "X")
        && digits(day, 2)
        && ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .contains(&month)
        && digits(year, 4)
        && clock.len() == 4
        && clock.iter().zip([2, 2, 2, 3]).all(|(part, length)| digits(part, length))
        && matches!(level, "." | "-" | "*" | "#")
}

#[test]
fn the_words_that_tools_wait_for_come_in_order() {
    let mut server = skuld().option("always-show-logo", "yes").start();
    server.wait_for_log("Ready to accept connections tcp");
    let log = server.log();
    let process_id = server.process_id();
    let banner = log.find(&format!(" PID: {process_id}")).unwrap_or_else(|| panic!("no PID in:\n{log}"));
    assert!(log.contains(&format!("Port: {}", server.port)), "{log}");
    let initialized = log.find("Server initialized").unwrap_or_else(|| panic!("not initialized:\n{log}"));
    let ready = log.find("Ready to accept connections tcp").expect("waited for");
    assert!(banner < initialized && initialized < ready, "{log}");
    assert_eq!(log.matches("Server initialized").count(), 1, "{log}");
    assert_eq!(log.matches("Ready to accept connections tcp").count(), 1, "{log}");
}

#[test]
fn every_log_line_has_the_legacy_format() {
    let mut server = skuld().option("always-show-logo", "no").start();
    server.wait_for_log("Ready to accept connections tcp");
    server.signal("TERM");
    server.wait_for_exit();
    let log = server.log();
    let process_id = server.process_id();
    let odd: Vec<&str> =
        log.lines().filter(|line| !line.is_empty() && !is_log_line(line, process_id)).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn log_formats_and_levels() {
    let mut json = skuld().option("log-format", "json").start();
    json.wait_for_log("Ready to accept connections tcp");
    assert!(
        json.log()
            .lines()
            .any(|line| line.starts_with('{') && line.ends_with('}') && line.contains("Server initialized")),
        "{}",
        json.log()
    );
    let mut logfmt = skuld().option("log-format", "logfmt").start();
    logfmt.wait_for_log("Ready to accept connections tcp");
    assert!(
        logfmt.log().lines().any(|line| line.contains("message=\"Server initialized\"")),
        "{}",
        logfmt.log()
    );
    let quiet = skuld().option("loglevel", "nothing").start();
    assert!(!quiet.log().contains("Server initialized"), "{}", quiet.log());
}

#[test]
fn the_log_can_go_to_a_file() {
    let dir = TempDir::new();
    let path = dir.path().join("own.log");
    let server = skuld().option("logfile", &path.display().to_string()).start();
    server.connect().ask("DEBUG LOG written-by-the-test");
    let text = fs::read_to_string(&path).expect("the log file is there");
    assert!(text.contains("Server initialized") && text.contains("written-by-the-test"), "{text}");
    assert!(!server.log().contains("Server initialized"), "{}", server.log());
}

#[test]
fn a_unix_socket_is_announced_and_served() {
    let dir = TempDir::new();
    let path = dir.path().join("skuld.sock");
    let mut server =
        skuld().option("unixsocket", &path.display().to_string()).option("unixsocketperm", "700").start();
    server.wait_for_log("Ready to accept connections unix");
    let mut client = Client::connect_unix(&path).expect("the socket accepts");
    assert_eq!(client.ask("PING").text(), "PONG");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&path).expect("the socket is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    server.signal("TERM");
    server.wait_for_exit();
    assert!(!path.exists(), "the socket is removed at the end");
}

#[test]
fn a_taken_port_ends_with_one() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
    let port = holder.local_addr().expect("it is bound").port();
    let mut server = skuld().option("bind", "127.0.0.1").spawn(port);
    assert_eq!(server.wait_for_exit().code(), Some(1));
    assert!(
        server.log().contains(&format!("Failed listening on port {port} (tcp), aborting.")),
        "{}",
        server.log()
    );
}

#[test]
fn the_pid_file_lives_as_long_as_the_process() {
    let dir = TempDir::new();
    let path = dir.path().join("server.pid");
    let mut server = skuld().option("pidfile", &path.display().to_string()).start();
    let text = fs::read_to_string(&path).expect("the pid file is there");
    assert_eq!(text.trim(), server.process_id().to_string());
    server.signal("TERM");
    server.wait_for_exit();
    assert!(!path.exists());
}

// --- ending

#[test]
fn sigterm_and_sigint_end_with_zero_and_the_last_words() {
    for (signal, words) in [
        ("TERM", "Received SIGTERM scheduling shutdown..."),
        ("INT", "Received SIGINT scheduling shutdown..."),
    ] {
        let mut server = skuld().start();
        let mut client = server.connect();
        client.ask("SET key value");
        server.signal(signal);
        assert_eq!(server.wait_for_exit().code(), Some(0));
        let log = server.log();
        let received = log.find(words).unwrap_or_else(|| panic!("{words:?} is missing in:\n{log}"));
        let requested =
            log.find("User requested shutdown...").unwrap_or_else(|| panic!("not requested:\n{log}"));
        assert!(received < requested, "{log}");
        assert!(log.trim_end().ends_with("is now ready to exit, bye bye..."), "{log}");
        assert_eq!(client.read_to_close(), Ok(Vec::new()));
    }
}

#[test]
fn shutdown_closes_without_a_reply() {
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "shutdown nosave now force"] {
        let mut server = skuld().start();
        let mut client = server.connect();
        client.send(&support::text::words(line));
        assert_eq!(client.read_to_close(), Ok(Vec::new()), "{line}");
        assert_eq!(server.wait_for_exit().code(), Some(0), "{line}");
    }
}

#[test]
fn it_survives_being_stopped_and_continued() {
    let server = skuld().start();
    let mut client = server.connect();
    client.ask("SET lasting v EX 100000");
    client.ask("SET short v PX 20");
    server.signal("STOP");
    client.send(&support::text::words("EXISTS short lasting"));
    // Long enough for the deadline to pass while no instruction of the server runs.
    assert!(client.is_silent_for(std::time::Duration::from_millis(60)));
    server.signal("CONT");
    assert_eq!(client.read_reply().expect("a reply after SIGCONT").raw, b":1\r\n");
}

#[test]
fn a_fatal_fault_leaves_a_report() {
    let mut server = skuld().start();
    let mut client = server.connect();
    client.send(&support::text::words("DEBUG SEGFAULT"));
    server.wait_for_exit();
    let log = server.log();
    assert!(log.contains("crashed by signal: 11"), "{log}");
    for part in ["9.1.2", "# Server", "addr=127.0.0.1:"] {
        assert!(log.contains(part), "{part:?} is missing in the report:\n{log}");
    }
}

/// An internal error ends the process as `use-exit-on-panic` says.
#[test]
fn an_internal_error_may_end_in_an_exit() {
    for (exits, code) in [("yes", Some(1)), ("no", None)] {
        let mut server = skuld().option("use-exit-on-panic", exits).start();
        server.connect().send(&support::text::words("DEBUG ASSERT"));
        assert_eq!(server.wait_for_exit().code(), code, "use-exit-on-panic {exits}");
        assert!(server.log().contains("ASSERTION FAILED"), "{}", server.log());
    }
}

/// What holds threads up is told to whoever asks for it.
#[test]
fn the_watchdog_and_an_alarm_tell_what_threads_do() {
    let mut server = skuld().start();
    let mut client = server.connect();
    server.signal("ALRM");
    server.wait_for_log("Received SIGALRM");
    server.wait_for_log("STACK TRACE DONE");
    client.ask("DEBUG SLEEP 0.15");
    assert!(!server.log().contains("WATCHDOG"), "{}", server.log());
    assert_eq!(client.ask("CONFIG SET watchdog-period 100").text(), "OK");
    client.ask("DEBUG SLEEP 0.15");
    server.wait_for_log("WATCHDOG TIMER EXPIRED");
}

// --- first words on a connection

#[test]
fn the_first_words_of_tools_are_understood() {
    let server = skuld().start();
    let mut client = server.connect();
    client.send_raw(b"PING\r\n\r\n");
    assert_eq!(client.read_reply().expect("a reply").raw, b"+PONG\r\n");
    assert_eq!(client.ask("SELECT 3").text(), "OK");
    let hello = client.ask("HELLO 3");
    let fields: Vec<(String, String)> =
        hello.entries().iter().map(|(name, value)| (name.text(), value.text())).collect();
    for (name, value) in
        [("server", "valkey"), ("version", "9.1.2"), ("mode", "standalone"), ("role", "master")]
    {
        assert!(fields.contains(&(name.to_owned(), value.to_owned())), "{name}: {fields:?}");
    }
    assert_eq!(client.ask("CLIENT SETNAME tool").text(), "OK");
    assert_eq!(client.ask("CLIENT SETINFO LIB-NAME tool").text(), "OK");
    let info = client.ask("INFO").text();
    for line in [
        "redis_version:7.2.4",
        "valkey_version:9.1.2",
        "server_name:valkey",
        "# Server",
        "# Clients",
        "# Memory",
        "role:master",
    ] {
        assert!(info.lines().any(|found| found == line), "{line:?} is missing in INFO");
    }
    assert_eq!(
        info.lines().find(|line| line.starts_with("process_id:")),
        Some(format!("process_id:{}", server.process_id()).as_str())
    );
}

#[test]
fn a_password_is_asked_for() {
    let server = skuld().option("requirepass", "secret").start();
    let mut client = server.connect();
    client.send_raw(b"PING\r\n");
    assert_eq!(client.read_reply().expect("a reply").raw, b"-NOAUTH Authentication required.\r\n");
    assert_eq!(client.ask("AUTH secret").text(), "OK");
    assert_eq!(client.ask("PING").text(), "PONG");
}

#[test]
fn health_and_readiness_are_asked_by_the_same_program() {
    let check = |server: &Server, arguments: &[&str]| {
        let port = server.address().port().to_string();
        let all: Vec<&str> = ["--port", &port].iter().chain(arguments).copied().collect();
        let output = run(&all);
        (output.status.code(), all_output(&output))
    };
    let server = skuld().option("requirepass", "secret").option("enable-debug-command", "yes").start();
    assert_eq!(check(&server, &["--healthcheck"]).0, Some(0));
    assert_eq!(
        check(&server, &["--healthcheck=ready"]).0,
        Some(1),
        "it cannot be asked without the password"
    );
    assert_eq!(check(&server, &["--requirepass", "secret", "--healthcheck=ready"]).0, Some(0));
    // A node of a cluster without slots lives and is not ready.
    let bus = free_port().to_string();
    let node = skuld().option("cluster-enabled", "yes").option("cluster-port", &bus).start();
    assert_eq!(check(&node, &["--healthcheck"]).0, Some(0));
    let (code, text) = check(&node, &["--cluster-enabled", "yes", "--healthcheck=ready"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cluster_state:ok"), "{text}");
}

#[test]
fn extra_flags_of_the_environment_come_last() {
    let server = skuld().environment("VALKEY_EXTRA_FLAGS", " --maxclients 77  --appendonly no ").start();
    assert_eq!(directive(&server, "maxclients"), "77");
}

#[test]
fn a_signal_waits_while_periodic_work_is_paused_and_can_be_taken_back() {
    let mut server = skuld().option("enable-debug-command", "yes").start();
    let mut client = server.connect();
    client.ask("DEBUG PAUSE-CRON 1");
    server.signal("TERM");
    server.wait_for_log("Received SIGTERM");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while client.ask("SHUTDOWN ABORT").text() != "OK" {
        assert!(std::time::Instant::now() < deadline, "the signal was not seen");
    }
    server.wait_for_log("Shutdown manually aborted.");
    client.ask("DEBUG PAUSE-CRON 0");
    assert_eq!(client.ask("PING").text(), "PONG");
    // SIGALRM only asks.
    server.signal("ALRM");
    server.wait_for_log("Received SIGALRM");
    assert_eq!(client.ask("PING").text(), "PONG");
}

#[test]
fn a_second_interrupt_ends_a_save_at_once_and_removes_what_was_written() {
    let mut server = skuld().option("save", "900 1").start();
    let mut client = server.connect();
    for number in 0..50 {
        client.ask(&format!("SET k{number} v"));
    }
    client.ask("CONFIG SET rdb-key-save-delay 200000");
    let temporary = server.dir().join(format!("temp-{}.rdb", server.process_id()));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    server.signal("INT");
    while !temporary.exists() {
        assert!(std::time::Instant::now() < deadline, "no file is being written");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.signal("INT");
    assert_eq!(server.wait_for_exit().code(), Some(1));
    assert!(!temporary.exists());
}
