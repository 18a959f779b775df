//! Arguments: few keys, and values near every boundary.

use std::collections::BTreeSet;

use super::super::parity::Command;
use super::super::rng::Rng;
use super::super::rules::YEAR_2100_S;

pub struct Draw {
    pub rng: Rng,
    /// The prefix of the family being drawn.
    pub prefix: &'static str,
    prefixes: Vec<&'static str>,
    /// Commands that the server lists and that COMMAND GETKEYS may therefore be asked about.
    listed: Vec<Vec<u8>>,
}

/// Keys per family: few, so that commands meet.
const KEYS: usize = 5;

/// Builds a command from anything that turns into bytes.
macro_rules! command {
    ($($argument:expr),+ $(,)?) => { vec![$(Vec::<u8>::from($argument)),+] };
}
pub(crate) use command;

impl Draw {
    pub fn new(seed: u64, prefixes: Vec<&'static str>, listed: &BTreeSet<String>) -> Self {
        let asked =
            ["set", "mset", "get", "eval", "xread", "zunionstore", "sort", "copy", "msetex", "object"];
        let listed =
            asked.into_iter().filter(|name| listed.contains(*name)).map(|name| name.into()).collect();
        Self { rng: Rng::new(seed), prefix: "s", prefixes, listed }
    }

    /// The name of a command that the server lists, or of none.
    pub fn command_name(&mut self) -> Vec<u8> {
        if self.listed.is_empty() || self.rng.one_in(10) {
            return b"nosuchcommand".to_vec();
        }
        self.rng.pick(&self.listed).clone()
    }

    /// Mostly one of the family's keys; sometimes another family's, which is often of the wrong type.
    pub fn key(&mut self) -> Vec<u8> {
        let prefix = if self.rng.one_in(8) { *self.rng.pick(&self.prefixes) } else { self.prefix };
        match self.rng.below(60) {
            0 => b"".to_vec(),
            1 => b"bin\x00\xff\r\n".to_vec(),
            2 => format!("{{{prefix}}}:tag").into_bytes(),
            3 => b"missing".to_vec(),
            _ => format!("{prefix}{}", self.rng.below(KEYS)).into_bytes(),
        }
    }

    pub fn keys(&mut self, low: usize, high: usize) -> Vec<Vec<u8>> {
        let count = low + self.rng.below(high - low + 1);
        (0..count).map(|_| self.key()).collect()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.rng.below(100) < percent
    }

    pub fn word(&mut self, words: &[&str]) -> Vec<u8> {
        self.rng.pick(words).as_bytes().to_vec()
    }

    /// A small member, field or element, from a space small enough to collide.
    pub fn element(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => Vec::new(),
            1 => b"\x00\x01\xfe\xff".to_vec(),
            2 => b"x".repeat(65),
            3 => self.integer(),
            4 => self.float(),
            5..=9 => self.rng.range(-20, 20).to_string().into_bytes(),
            _ => format!("e{}", self.rng.below(24)).into_bytes(),
        }
    }

    pub fn elements(&mut self, low: usize, high: usize) -> Vec<Vec<u8>> {
        let count = low + self.rng.below(high - low + 1);
        (0..count).map(|_| self.element()).collect()
    }

    /// A value of any kind for a string key.
    pub fn value(&mut self) -> Vec<u8> {
        match self.rng.below(24) {
            0 => Vec::new(),
            1 => b"\x00".to_vec(),
            2 => {
                let length = self.rng.below(40);
                self.rng.bytes(length)
            }
            // Around the limits of the embedded encoding (44, 52, 64 bytes).
            3 => {
                let length = *self.rng.pick(&[43, 44, 45, 51, 52, 53, 63, 64, 65, 127, 128, 129]);
                vec![b'a' + self.rng.below(26) as u8; length]
            }
            4 => vec![b'z'; *self.rng.pick(&[1000, 4096, 16_384, 40_000])],
            5..=9 => self.integer(),
            10..=12 => self.float(),
            _ => format!("value{}", self.rng.below(50)).into_bytes(),
        }
    }

    /// Integers and texts that nearly are.
    pub fn integer(&mut self) -> Vec<u8> {
        if self.rng.one_in(3) {
            return self.rng.range(-100, 100).to_string().into_bytes();
        }
        self.word(&[
            "0",
            "1",
            "-1",
            "2",
            "10",
            "9",
            "100",
            "9999",
            "10000",
            "32767",
            "32768",
            "65535",
            "65536",
            "2147483647",
            "2147483648",
            "-2147483648",
            "-2147483649",
            "4294967295",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "9223372036854775806",
            "-9223372036854775807",
            "4611686018427387904",
            "99999999999999999999999999",
            "+1",
            "-0",
            "00",
            "01",
            " 1",
            "1 ",
            "0x10",
            "1e3",
            "1.0",
            "",
            "abc",
            "--1",
            "1\x00",
        ])
    }

    /// Numbers that mostly are integers of moderate size.
    pub fn small_integer(&mut self) -> Vec<u8> {
        match self.rng.below(12) {
            0 => self.integer(),
            1 => b"0".to_vec(),
            _ => self.rng.range(-12, 12).to_string().into_bytes(),
        }
    }

    /// A count, seldom out of range.
    pub fn count(&mut self) -> Vec<u8> {
        match self.rng.below(14) {
            0 => self.integer(),
            1 => b"0".to_vec(),
            2 => b"-1".to_vec(),
            3 => b"1000".to_vec(),
            _ => self.rng.range(1, 6).to_string().into_bytes(),
        }
    }

    /// A count for random picks. A negative one means that many picks with repetition, so none is huge.
    pub fn pick_count(&mut self) -> Vec<u8> {
        match self.rng.below(10) {
            0 => self.word(&[
                "0",
                "-0",
                "x",
                "",
                "-9223372036854775808",
                "9223372036854775808",
                "4611686018427387904",
            ]),
            _ => self.rng.range(-12, 12).to_string().into_bytes(),
        }
    }

    /// Floating-point texts, odd ones included.
    pub fn float(&mut self) -> Vec<u8> {
        match self.rng.below(3) {
            0 => format!("{}.{}", self.rng.range(-50, 50), self.rng.below(1000)).into_bytes(),
            1 => self.rng.range(-30, 30).to_string().into_bytes(),
            _ => self.word(&[
                "0",
                "-0",
                "0.0",
                "-0.0",
                "1.5",
                "3.0",
                "3.14159265358979",
                "1e10",
                "1E10",
                "1e-10",
                "5e-324",
                "1e308",
                "1.7976931348623157e308",
                "-1.7976931348623157e308",
                "1e309",
                "inf",
                "-inf",
                "+inf",
                "Infinity",
                "-infinity",
                "nan",
                "NaN",
                "-nan",
                "0x1p3",
                "1e",
                ".5",
                "5.",
                " 1.5",
                "1.5 ",
                "1,5",
                "",
                "abc",
                "1.5e",
                "123456789012345678",
                "0.1",
                "0.2",
                "0.30000000000000004",
                "1e17",
                "1e21",
                "100000000000000000000",
                "9007199254740993",
                "1e400",
                "-1e400",
                "4.9406564584124654e-324",
            ]),
        }
    }

    /// A score that mostly is valid.
    pub fn score(&mut self) -> Vec<u8> {
        match self.rng.below(10) {
            0 => self.float(),
            1 => self.word(&["inf", "-inf", "0", "-0", "1e308", "0.1", "3.0"]),
            2..=4 => format!("{}.{}", self.rng.range(-9, 9), self.rng.below(100)).into_bytes(),
            _ => self.rng.range(-9, 9).to_string().into_bytes(),
        }
    }

    /// A far absolute deadline in seconds, so that it compares exactly.
    pub fn far_second(&mut self) -> i64 {
        YEAR_2100_S + self.rng.range(0, 9) * 1000
    }

    /// An absolute time in seconds: far ahead, or long past, or not a time at all.
    pub fn absolute_second(&mut self) -> Vec<u8> {
        match self.rng.below(12) {
            0 => self.word(&[
                "0",
                "-1",
                "1",
                "1000000000",
                "-9223372036854775808",
                "9223372036854775807",
                "x",
                "",
                "9223372036854776",
            ]),
            _ => self.far_second().to_string().into_bytes(),
        }
    }

    pub fn absolute_millisecond(&mut self) -> Vec<u8> {
        match self.rng.below(12) {
            0 => self.word(&[
                "0",
                "-1",
                "1",
                "1000000000000",
                "-9223372036854775808",
                "9223372036854775807",
                "x",
                "",
                "1.5",
            ]),
            _ => (self.far_second() * 1000 + self.rng.range(0, 999)).to_string().into_bytes(),
        }
    }

    /// A time to live in seconds: at least 1,000, or over at once, or not a time.
    pub fn relative_second(&mut self) -> Vec<u8> {
        match self.rng.below(8) {
            0 => self.word(&[
                "0",
                "-1",
                "-1000",
                "-9223372036854775808",
                "9223372036854775807",
                "9223372036854775",
                "x",
                "",
                "1.5",
                "18446744073709551616",
            ]),
            _ => self.rng.range(1000, 100_000_000).to_string().into_bytes(),
        }
    }

    pub fn relative_millisecond(&mut self) -> Vec<u8> {
        match self.rng.below(8) {
            0 => self.word(&[
                "0",
                "-1",
                "-1000",
                "-9223372036854775808",
                "9223372036854775807",
                "x",
                "",
                "1.5",
            ]),
            _ => self.rng.range(1_000_000, 100_000_000_000).to_string().into_bytes(),
        }
    }

    /// `EX n`, `PX n`, `EXAT n` or `PXAT n`.
    pub fn expiry_option(&mut self) -> Vec<Vec<u8>> {
        match self.rng.below(6) {
            0 => vec![b"EX".to_vec(), self.relative_second()],
            1 => vec![b"PX".to_vec(), self.relative_millisecond()],
            2 | 3 => vec![b"EXAT".to_vec(), self.absolute_second()],
            _ => vec![b"PXAT".to_vec(), self.absolute_millisecond()],
        }
    }

    /// Start and stop of a range by index.
    pub fn index_range(&mut self) -> [Vec<u8>; 2] {
        match self.rng.below(5) {
            0 => [b"0".to_vec(), b"-1".to_vec()],
            _ => [self.small_integer(), self.small_integer()],
        }
    }

    /// A glob pattern that matches some of the keys or elements.
    pub fn pattern(&mut self) -> Vec<u8> {
        let prefix = self.prefix;
        match self.rng.below(4) {
            0 => self.word(&[
                "*", "", "?", "??", "*1", "e*", "[a-m]*", "[^s]*", "\\*", "*[0-2]", "[", "a[", "e[0-9", "*\\",
            ]),
            1 => format!("{prefix}?").into_bytes(),
            2 => format!("{prefix}[1-3]").into_bytes(),
            _ => b"*".to_vec(),
        }
    }

    /// Wrong arity, or an argument replaced by something odd.
    pub fn mutate(&mut self, command: &mut Command) {
        match self.rng.below(60) {
            0 => {
                command.pop();
            }
            1 => command.push(self.element()),
            2 if command.len() > 1 => {
                let place = 1 + self.rng.below(command.len() - 1);
                command[place] = self.value();
            }
            3 if command.len() > 2 => {
                let place = 2 + self.rng.below(command.len() - 2);
                command[place] = self.integer();
            }
            4 if command.len() > 2 => {
                let place = 1 + self.rng.below(command.len() - 2);
                command.swap(place, place + 1);
            }
            5 => command.truncate(1),
            _ => {}
        }
        if command.is_empty() {
            command.push(b"PING".to_vec());
        }
    }

    /// Names and options may be written in any case.
    pub fn vary_case(&mut self, command: &mut Command) {
        match self.rng.below(12) {
            0 => command[0].make_ascii_lowercase(),
            1 => {
                for (index, letter) in command[0].iter_mut().enumerate() {
                    if index % 2 == 0 {
                        letter.make_ascii_lowercase();
                    }
                }
            }
            2 => {
                // Only words that are options: all capitals, at least two letters.
                for argument in command.iter_mut().skip(1) {
                    if argument.len() > 1 && argument.iter().all(u8::is_ascii_uppercase) {
                        argument.make_ascii_lowercase();
                    }
                }
            }
            _ => {}
        }
    }
}
