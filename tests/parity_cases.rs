//! The written cases of `tests/cases` on Skuld and a real Valkey: raw replies must be the same, in RESP2 and RESP3, with
//! one worker and with three. `tests/support/cases.rs` describes the files; `SKULD_CASES=strings,generic` picks some.

mod support;

use std::collections::BTreeSet;

use support::cases::{CaseFile, CaseRunner, Protocol, case_files};
use support::known::Known;
use support::parity::{Pair, listed_commands};
use support::server::reference_binary;

/// Nested replies are read by recursion, and scripts nest deeper than a test's thread has room for.
const STACK_BYTES: usize = 512 << 20;

fn run(protocol: Protocol, workers: usize) {
    let thread =
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || compare(protocol, workers));
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

fn compare(protocol: Protocol, workers: usize) {
    let Some(reference) = reference_binary("written parity cases") else { return };
    let known = Known::load();
    let mut failures = Vec::new();
    let mut left_out = BTreeSet::new();
    let mut compared = 0;
    for path in case_files() {
        let file = CaseFile::read(&path, &known);
        let mut pair = Pair::start(&reference, workers, &file.options);
        let subject_lists = listed_commands(&pair.subject);
        let reference_lists = listed_commands(&pair.reference);
        let report = CaseRunner::new(&mut pair, protocol, &subject_lists, &reference_lists).run(&file);
        println!(
            "{}: {} replies compared, {} differences",
            file.name,
            report.compared,
            report.failures.len()
        );
        compared += report.compared;
        failures.extend(report.failures);
        left_out.extend(report.left_out);
    }
    if !left_out.is_empty() {
        println!(
            "left out, since skuld does not list them: {}",
            left_out.into_iter().collect::<Vec<_>>().join(" ")
        );
    }
    assert!(compared > 0, "no case was run");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn written_cases_resp2_one_worker() {
    run(Protocol::Resp2, 1);
}

#[test]
fn written_cases_resp2_three_workers() {
    run(Protocol::Resp2, 3);
}

#[test]
fn written_cases_resp3_one_worker() {
    run(Protocol::Resp3, 1);
}

#[test]
fn written_cases_resp3_three_workers() {
    run(Protocol::Resp3, 3);
}
