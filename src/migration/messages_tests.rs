use super::super::arguments::tests::{USUAL, me, other};
use super::*;

/// Answers to `CLUSTER SYNCSLOTS ESTABLISH ...`; `A`, `B`: this node and the other, `N`: a name.
fn answer(words: &str) -> String {
    let (a, b) = (me(), other());
    let name = [b'n'; 40];
    let unknown = [b'x'; 40];
    let args: Vec<&[u8]> = words
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word {
            "A" => a.as_bytes(),
            "B" => b.as_bytes(),
            "N" => &name,
            "U" => &unknown,
            word => word.as_bytes(),
        })
        .collect();
    match establish(&args, From::Client, &USUAL, &|slot| slot.0 == 9000) {
        Ok(establish) => format!("OK {}", establish.ranges),
        Err(refusal) => refusal.to_string(),
    }
}

/// Observed on a Valkey 9.1.2; here the other node is the source.
#[test]
fn establish_is_refused_as_by_the_reference() {
    for (words, expected) in [
        ("", "syntax error"),
        ("SOURCE B NAME N", "syntax error"),
        ("SOURCE ab NAME N SLOTSRANGE 9001 9001", "syntax error"),
        ("SOURCE U NAME N SLOTSRANGE 9001 9001", "Target node does not know the source node"),
        ("SOURCE A NAME N SLOTSRANGE 9001 9001", "Source node is target node itself"),
        ("SOURCE B NAME x SLOTSRANGE 9001 9001", "syntax error"),
        ("SOURCE B NAME N SLOTSRANGE 0 0", "Target node does not agree about current slot ownership"),
        ("SOURCE B NAME N SLOTSRANGE 0 8192", "Slot 8191 has no node served."),
        ("SOURCE B NAME N SLOTSRANGE 9001", "No end slot for final slot range"),
        ("SOURCE B NAME N SLOTSRANGE x", "No slot ranges specified"),
        ("SOURCE B NAME N SLOTSRANGE", "No slot ranges specified"),
        ("SOURCE B NAME N FOO", "syntax error"),
        ("SOURCE B SOURCE B", "syntax error"),
        ("NAME N NAME N", "syntax error"),
        ("SLOTSRANGE 9001 9001 SLOTSRANGE 9002 9002", "syntax error"),
        ("SOURCE", "syntax error"),
        ("NAME", "syntax error"),
        ("SLOTSRANGE 9001 9001 9001 9001", "Slot range 9001-9001 overlaps with previous range 9001-9001."),
        (
            "SLOTSRANGE 9000 9000 SOURCE B NAME N",
            "Slot is already being imported on the target by a different migration",
        ),
        ("SLOTSRANGE 9001 9001 9003 9004 SOURCE B NAME N", "OK 9001-9001 9003-9004"),
        ("source B slotsrange 9001 9001 name N", "OK 9001-9001"),
    ] {
        assert_eq!(answer(words), expected, "{words}");
    }
}

#[test]
fn what_is_sent_is_what_the_reference_sends() {
    let mut out = Vec::new();
    let ranges = SlotRanges(vec![super::super::ranges::SlotRange { start: 0, end: 16 }]);
    let job = Establish { source: Some(other()), name: Id40([b'n'; 40]), ranges };
    job.encode(&mut out);
    let (b, n) = ("b".repeat(40), "n".repeat(40));
    let expected = format!(
        "*10\r\n$7\r\nCLUSTER\r\n$9\r\nSYNCSLOTS\r\n$9\r\nESTABLISH\r\n$6\r\nSOURCE\r\n$40\r\n{b}\r\n$4\r\nNAME\r\n$40\r\n{n}\r\n$10\r\nSLOTSRANGE\r\n$1\r\n0\r\n$2\r\n16\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&out), expected);
    out.clear();
    Finish { name: Id40([b'n'; 40]), failure: None }.encode(&mut out);
    assert!(out.starts_with(b"*9\r\n") && out.ends_with(b"$7\r\nMESSAGE\r\n$0\r\n\r\n"));
}

#[test]
fn finish_looks_for_the_job_before_the_state() {
    let name = [b'n'; 40];
    let parse = |words: &[&[u8]], exists: bool| Finish::parse(words, &|_| exists).map_err(|e| e.to_string());
    assert_eq!(parse(&[b"STATE", b"bad", b"NAME", &name], false), Err("No such slot migration job".into()));
    assert_eq!(parse(&[b"STATE", b"bad", b"NAME", &name], true), Err("syntax error".into()));
    assert_eq!(parse(&[b"NAME", &name], true), Err("syntax error".into()));
    assert_eq!(parse(&[b"STATE", b"failed", b"NAME", b"x"], true), Err("syntax error".into()));
    assert_eq!(parse(&[b"STATE"], true), Err("syntax error".into()));
    assert_eq!(parse(&[], true), Err("syntax error".into()));
    let done = parse(&[b"name", &name, b"state", b"Failed", b"message", b"why"], true);
    assert_eq!(done, Ok(Finish { name: Id40(name), failure: Some(b"why".to_vec()) }));
    let done = parse(&[b"STATE", b"success", b"NAME", &name, b"MESSAGE", b""], true);
    assert_eq!(done, Ok(Finish { name: Id40(name), failure: None }));
}

#[test]
fn words_are_read_in_any_case_and_unknown_ones_told_apart() {
    for signal in Signal::ALL {
        let lower = signal.word().to_ascii_lowercase();
        let args: Vec<&[u8]> = vec![b"cluster", b"syncslots", lower.as_bytes(), b"ignored"];
        assert_eq!(Message::parse(&args), Message::Signal(signal));
    }
    assert_eq!(Message::parse(&[b"CLUSTER", b"SYNCSLOTS", b"capa", b"x"]), Message::Capa);
    assert_eq!(Message::parse(&[b"CLUSTER", b"SYNCSLOTS", b"PAUSE"]), Message::Unknown);
    assert_eq!(Message::parse(&[b"CLUSTER", b"SYNCSLOTS"]), Message::Unknown);
}
