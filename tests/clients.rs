//! Client libraries as users have them, doing a round of ordinary work: redis-py (RESP2 and RESP3) and ioredis. They are
//! installed below `target/clients`. Without Python or Node, or when their registry cannot be reached, the test says so
//! and passes; not so when `CI=true`.

mod support;

use std::process::Command;

use support::programs::{installed, npm_package, run, skip};
use support::server::{Launch, repository};

const REDIS_PY: &str = "redis==6.4.0";
const IOREDIS: &str = "ioredis@5.8.2";

/// Runs a round against servers with one and with three workers.
fn round(mut script: impl FnMut(u16) -> Command) {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        match run(&mut script(server.address().port())) {
            Ok(output) => print!("{workers} workers: {}", String::from_utf8_lossy(&output.stdout)),
            Err(reason) => panic!("{workers} workers: {reason}\n{}", server.log_tail()),
        }
    }
}

#[test]
fn redis_py() {
    let library = installed(REDIS_PY, |directory| {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(directory)
            .arg(REDIS_PY))
    });
    match library {
        Ok(library) => round(|port| {
            let mut command = Command::new("python3");
            command.arg(repository().join("tests/clients/round.py")).arg(port.to_string());
            command.env("PYTHONPATH", &library).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }),
        Err(reason) => skip("redis-py", &reason),
    }
}

/// A cluster client writes while primaries and replicas of a cluster change places.
#[test]
fn redis_py_in_a_cluster() {
    let library = installed(REDIS_PY, |directory| {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(directory)
            .arg(REDIS_PY))
    });
    let library = match library {
        Ok(library) => library,
        Err(reason) => return skip("redis-py", &reason),
    };
    let servers: Vec<_> = (0..6)
        .map(|index| {
            Launch::skuld(1 + 2 * (index % 2))
                .option("cluster-enabled", "yes")
                .option("cluster-node-timeout", "2000")
                .option("repl-diskless-sync-delay", "0")
                .start()
        })
        .collect();
    let mut command = Command::new("python3");
    command.arg(repository().join("tests/clients/cluster.py"));
    command.args(servers.iter().map(|server| server.port.to_string()));
    command.env("PYTHONPATH", &library).env("PYTHONDONTWRITEBYTECODE", "1");
    match run(&mut command) {
        Ok(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(reason) => panic!("{reason}\n{}", servers[0].log_tail()),
    }
}

#[test]
fn ioredis() {
    match npm_package(IOREDIS) {
        Ok(library) => round(|port| {
            let mut command = Command::new("node");
            command.arg(repository().join("tests/clients/round.cjs")).arg(port.to_string());
            command.env("NODE_PATH", library.join("node_modules"));
            command
        }),
        Err(reason) => skip("ioredis", &reason),
    }
}
