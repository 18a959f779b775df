//! What scripts are given from outside: JSON, MessagePack and packed structures, first lines of scripts and libraries,
//! payloads of FUNCTION RESTORE, encoded replies, and requests to the debugger. The first byte tells which.

use skuld::config::RdbVersionCheck;
use skuld::rng::Rng;
use skuld::scripting::json::{self, JsonConfig};
use skuld::scripting::structs::{self, Arguments, Problem};
use skuld::scripting::value::Value;
use skuld::scripting::{debugger, dump, msgpack, replies, shebang};

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 7 {
        0 => json(data),
        1 => msgpack(data),
        2 => structs(data),
        3 => first_lines(data),
        4 => {
            let _ = dump::codes(data, RdbVersionCheck::Relaxed);
        }
        5 => {
            // Each element takes at least three bytes.
            assert!(replies::Replies::new(data).count() <= data.len());
            debugger::put_reply(&mut Vec::new(), data);
        }
        _ => requests(data),
    }
}

fn requests(data: &[u8]) {
    let mut input = data.to_vec();
    while let Ok(Some(words)) = debugger::take_request(&mut input) {
        assert!(!words.is_empty() && words.iter().all(|word| !word.is_empty()));
    }
}

fn json(data: &[u8]) {
    let config = JsonConfig { encode_invalid_numbers: 1, sparse_ratio: 0, ..JsonConfig::default() };
    let Ok(value) = json::decode(&config, data) else { return };
    let Ok(text) = json::encode(&config, &value) else { return };
    let again = json::decode(&config, &text).expect("what is written can be read");
    let written = json::encode(&config, &again).expect("what was written can be written");
    assert_eq!(text, written, "writing what was read changes nothing");
}

fn msgpack(data: &[u8]) {
    let Ok((value, len)) = msgpack::unpack(data) else { return };
    assert!(len <= data.len() && len > 0);
    let mut bytes = Vec::new();
    msgpack::pack(&mut bytes, &value);
    msgpack::unpack(&bytes).expect("what is packed can be unpacked");
}

/// Numbers and texts drawn from the data themselves.
struct Drawn<'a>(&'a [u8]);

impl Arguments for Drawn<'_> {
    fn number(&self, number: usize) -> Result<f64, Problem> {
        match self.0.get(number) {
            Some(byte) => Ok(f64::from(*byte) * 1e9 - 1e10),
            None => Err(Problem::Type(number, "number")),
        }
    }

    fn bytes(&self, number: usize) -> Result<&[u8], Problem> {
        self.0.get(number..).ok_or(Problem::Type(number, "string"))
    }
}

fn structs(data: &[u8]) {
    let cut = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (format, rest) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    // Large sizes are refused for want of data when unpacking; packing them would only fill memory.
    let small = structs::size(format).is_ok_and(|size| size < 1 << 20);
    if small && let Ok(bytes) = structs::pack(format, &Drawn(rest)) {
        let values = structs::unpack(format, &bytes, 1).expect("what is packed can be unpacked");
        assert_eq!(values.last(), Some(&Value::Number(bytes.len() as f64 + 1.0)));
    }
    let _ = structs::unpack(format, rest, 1);
}

fn first_lines(data: &[u8]) {
    if let Ok(header) = shebang::of_script(data) {
        assert!(header.code_start <= data.len());
    }
    if let Ok(header) = shebang::of_library(data) {
        assert_eq!(data[header.code_start], b'\n');
    }
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let kind = rng.below(7) as u8;
    let mut data = vec![kind];
    let words: &[&[u8]] = match kind {
        0 => &[
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"\"a\"",
            b"\"\\u00e9\"",
            b"1",
            b"-0.5e3",
            b"null",
            b"true",
            b"0x1f",
        ],
        1 => &[
            b"\x93",
            b"\x81",
            b"\xa1x",
            b"\xc0",
            b"\xcb\0\0\0\0\0\0\0\0",
            b"\xdc\0\x02",
            b"\xff",
            b"\x07",
            b"\xd9\x01y",
        ],
        2 => &[
            b"<", b">", b"!4", b"i", b"I3", b"b", b"H", b"d", b"f", b"s", b"c2", b"c0", b"x", b" ", b"\n",
            b"\x02ab",
        ],
        3 => &[b"#!lua", b" ", b"flags=", b"no-writes", b",", b"name=", b"x", b"\n", b"\""],
        4 => &[b"\xf5", b"\x05abcde", b"\x50\0", b"\0\0\0\0\0\0\0\0"],
        6 => &[b"*1\r\n", b"*2\r\n", b"$1\r\nx\r\n", b"$3\r\nabc\r\n", b"*", b"$0\r\n\r\n"],
        _ => &[
            b"+OK\r\n",
            b":5\r\n",
            b"$1\r\nx\r\n",
            b"*2\r\n",
            b"%1\r\n",
            b"_\r\n",
            b",1.5\r\n",
            b"=5\r\ntxt:x\r\n",
        ],
    };
    for _ in 0..rng.below(14) {
        data.extend_from_slice(crate::pick(rng, words));
    }
    data
}

pub fn words() -> Vec<&'static [u8]> {
    vec![
        b"[",
        b"]",
        b"{",
        b"\"",
        b"\\u",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6",
        b"c0",
        b"i32",
        b"#!lua name=",
        b"$-1\r\n",
    ]
}
