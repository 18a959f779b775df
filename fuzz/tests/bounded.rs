//! Runs every target on many made and changed inputs, for a bounded time, with nothing but a stable toolchain.
//!
//! - `SKULD_FUZZ_SECONDS`: time per target, default 5
//! - `SKULD_FUZZ_SEED`: default drawn from the clock; printed
//! - `SKULD_FUZZ_INPUT=<file>` with a test's name as filter: runs this one input instead
//!
//! An input on which a target fails, or on which it runs for longer than `STALL`, is written to `fuzz/artifacts/`.

use std::panic::{catch_unwind, set_hook, take_hook};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skuld::rng::Rng;
use skuld_fuzz::mutate::mutate;
use skuld_fuzz::{TARGETS, Target, one_in};

/// One input may take so long: a debug build on a busy machine is slow, an endless loop is slower.
const STALL: Duration = Duration::from_secs(30);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn keep(target: &Target, input: &[u8]) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    std::fs::create_dir_all(&directory).expect("fuzz/artifacts can be made");
    let name = format!("{}-{:016x}", target.name, skuld::hash::hash(input));
    let path = directory.join(name);
    std::fs::write(&path, input).expect("fuzz/artifacts can be written");
    path
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    if let Some(path) = std::env::var_os("SKULD_FUZZ_INPUT") {
        (target.run)(&std::fs::read(path).expect("the input can be read"));
        return;
    }
    let seed = setting("SKULD_FUZZ_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
    });
    println!("{name}: seed {seed}");
    let time = Duration::from_secs(setting("SKULD_FUZZ_SECONDS").unwrap_or(5));
    let words = (target.words)();
    let (send, receive) = channel::<Vec<u8>>();
    // Tells when an input takes too long: it cannot be stopped, so the whole test ends.
    let watch = std::thread::spawn(move || {
        let mut current: Option<Vec<u8>> = None;
        loop {
            match (receive.recv_timeout(STALL), current.take()) {
                (Ok(next), _) => current = Some(next),
                (Err(RecvTimeoutError::Disconnected), _) => return,
                (Err(RecvTimeoutError::Timeout), Some(input)) => {
                    eprintln!(
                        "{}: still running after {STALL:?}: {}",
                        target.name,
                        keep(target, &input).display()
                    );
                    std::process::abort();
                }
                (Err(RecvTimeoutError::Timeout), None) => {}
            }
        }
    });
    let begin = Instant::now();
    let mut cases = 0u64;
    while begin.elapsed() < time {
        // Each case has a stream of its own, so that a case does not depend on how many ran before.
        let mut rng = Rng::new(seed ^ cases.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut input = (target.make)(&mut rng);
        if !one_in(&mut rng, 3) {
            mutate(&mut rng, &mut input, &words);
        }
        send.send(input.clone()).expect("the watch lives as long as the sender");
        if let Err(panic) = catch_unwind(|| (target.run)(&input)) {
            let input = shrink(target, input);
            let path = keep(target, &input);
            eprintln!(
                "{name}: seed {seed}, case {cases}; the input is in {}:\n{}\n\
                 run it alone: SKULD_FUZZ_INPUT={} cargo test -p skuld-fuzz --test bounded {name}",
                path.display(),
                input.escape_ascii().to_string().replace("\\n", "\n"),
                path.display()
            );
            std::panic::resume_unwind(panic);
        }
        cases += 1;
    }
    println!("{name}: {cases} cases");
    drop(send);
    watch.join().expect("the watch does not panic");
    assert!(cases > 0);
}

/// Removes lines, then bytes, as long as the target still fails.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    set_hook(Box::new(|_| {}));
    let fails = |input: &[u8]| catch_unwind(|| (target.run)(input)).is_err();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut piece = input.len() / 2;
    while piece > 0 && Instant::now() < deadline {
        let mut at = 0;
        while at < input.len() && Instant::now() < deadline {
            let mut shorter = input.clone();
            shorter.drain(at..(at + piece).min(input.len()));
            if fails(&shorter) {
                input = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    drop(take_hook());
    input
}

#[test]
fn acl() {
    fuzz("acl");
}

#[test]
fn requests() {
    fuzz("requests");
}

#[test]
fn config() {
    fuzz("config");
}

#[test]
fn commands() {
    fuzz("commands");
}

#[test]
fn glob() {
    fuzz("glob");
}

#[test]
fn packed() {
    fuzz("packed");
}

#[test]
fn payloads() {
    fuzz("payloads");
}

#[test]
fn migrations() {
    fuzz("migrations");
}

#[test]
fn files() {
    fuzz("files");
}

#[test]
fn replication() {
    fuzz("replication");
}

#[test]
fn numbers() {
    fuzz("numbers");
}

#[test]
fn scripting() {
    fuzz("scripting");
}

#[test]
fn bus_packets() {
    fuzz("bus_packets");
}

#[test]
fn nodes_conf() {
    fuzz("nodes_conf");
}

#[test]
fn cluster_node() {
    fuzz("cluster_node");
}

/// The driver finds what there is to find: a target with a planted fault fails.
#[test]
fn a_planted_fault_is_found() {
    fn run(data: &[u8]) {
        assert!(!data.windows(3).any(|bytes| bytes == b"bad"), "planted");
    }
    let target = Target {
        name: "planted",
        run,
        make: |rng| vec![b'x'; rng.below(9) as usize],
        words: || vec![b"bad"],
    };
    let words = (target.words)();
    let mut rng = Rng::new(1);
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let found = (0..1000).any(|_| {
        let mut input = (target.make)(&mut rng);
        mutate(&mut rng, &mut input, &words);
        catch_unwind(|| (target.run)(&input)).is_err()
    });
    set_hook(hook);
    assert!(found);
}
