//! Writes requests from the argument trees of the command table, so that a new command is fuzzed as soon as it has a
//! row, with values that lie at boundaries.

use std::sync::OnceLock;

use skuld::commands::argument::{Argument, ArgumentKind};
use skuld::commands::{Command, Handler, table};
use skuld::config::split::quote;
use skuld::rng::Rng;

use crate::{one_in, pick};

/// The commands that the engine executes.
fn commands() -> &'static [&'static Command] {
    static COMMANDS: OnceLock<Vec<&'static Command>> = OnceLock::new();
    COMMANDS.get_or_init(|| {
        table().iter().filter(|c| matches!(c.spec.handler, Handler::Engine(_)) && c.is_built()).collect()
    })
}

/// The commands of one sequence: mostly those of few groups, so that they meet each other's values.
pub struct Family(Vec<&'static Command>);

impl Family {
    /// Two groups that work on keys, or one.
    pub fn draw(rng: &mut Rng) -> Self {
        let on_keys: Vec<&Command> = commands().iter().copied().filter(|c| !c.keys.is_empty()).collect();
        let Some(leader) = on_keys.get(rng.below(on_keys.len().max(1) as u64) as usize) else {
            return Self(commands().to_vec());
        };
        // Generic commands make no values, so another group joins them.
        let partner = on_keys[rng.below(on_keys.len() as u64) as usize];
        let groups = [leader.docs.group.name(), partner.docs.group.name()];
        Self(on_keys.into_iter().filter(|c| groups.contains(&c.docs.group.name())).collect())
    }

    /// One request in the form of an inline request.
    pub fn request(&self, rng: &mut Rng) -> Vec<u8> {
        let of = if one_in(rng, 5) { commands() } else { &self.0 };
        let command = of[rng.below(of.len() as u64) as usize];
        let mut words: Vec<Vec<u8>> = command.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        let mut announced = None;
        for argument in command.docs.arguments {
            write(rng, argument, &mut words, &mut announced);
        }
        if one_in(rng, 12) {
            spoil(rng, &mut words);
        }
        let quoted: Vec<Vec<u8>> = words
            .iter()
            .map(|word| {
                let plain =
                    !word.is_empty() && word.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b));
                if plain { word.clone() } else { quote(word) }
            })
            .collect();
        quoted.join(&b' ')
    }
}

/// One wrong word, one too many, or one too few.
fn spoil(rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
    let at = rng.below(words.len() as u64) as usize;
    match rng.below(4) {
        0 if at > 0 => words[at] = any_value(rng),
        1 => words.insert(at + 1, any_value(rng)),
        2 if at > 0 => drop(words.remove(at)),
        _ => words.push(any_value(rng)),
    }
}

/// Appends the words of one argument. A count of what follows is kept in `announced` for the next repeated argument.
fn write(rng: &mut Rng, argument: &Argument, words: &mut Vec<Vec<u8>>, announced: &mut Option<u64>) {
    if argument.optional && rng.below(5) < 3 {
        return;
    }
    let times = if argument.multiple { announced.take().unwrap_or_else(|| 1 + rng.below(4)) } else { 1 };
    for time in 0..times {
        if !argument.token.is_empty()
            && argument.kind != ArgumentKind::PureToken
            && (time == 0 || argument.multiple_token)
        {
            words.push(argument.token.as_bytes().to_vec());
        }
        match argument.kind {
            ArgumentKind::PureToken => words.push(argument.token.as_bytes().to_vec()),
            ArgumentKind::OneOf => {
                let choices: Vec<&Argument> = argument.arguments.iter().collect();
                let choice = pick(rng, &choices);
                write(rng, choice, words, announced);
            }
            ArgumentKind::Block => {
                for part in argument.arguments {
                    write(rng, part, words, announced);
                }
            }
            ArgumentKind::Key => words.push(pick(rng, KEYS).to_vec()),
            ArgumentKind::Integer if argument.name.starts_with("num") => {
                // How many keys or fields follow; right more often than not.
                let count = 1 + rng.below(3);
                *announced = Some(count);
                let told = if one_in(rng, 12) { integer(rng) } else { count.to_string().into_bytes() };
                words.push(told);
            }
            ArgumentKind::Integer => words.push(integer(rng)),
            ArgumentKind::Double => words.push(pick(rng, DOUBLES).to_vec()),
            ArgumentKind::UnixTime => words.push(unix_time(rng)),
            ArgumentKind::Pattern => words.push(pick(rng, PATTERNS).to_vec()),
            ArgumentKind::String => words.push(value(rng)),
        }
    }
}

fn integer(rng: &mut Rng) -> Vec<u8> {
    match rng.below(3) {
        0 => pick(rng, INTEGERS).to_vec(),
        _ => (rng.below(24) as i64 - 6).to_string().into_bytes(),
    }
}

fn unix_time(rng: &mut Rng) -> Vec<u8> {
    // Seconds and milliseconds around the keeper's clock.
    let seconds = 1_700_000_000 + rng.below(200) as i64 - 50;
    match rng.below(4) {
        0 => pick(rng, INTEGERS).to_vec(),
        1 => seconds.to_string().into_bytes(),
        _ => (seconds * 1000 + rng.below(1000) as i64).to_string().into_bytes(),
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(10) {
        0 => pick(rng, INTEGERS).to_vec(),
        1 => pick(rng, DOUBLES).to_vec(),
        2 => vec![b'v'; 1 << rng.below(12)],
        3 => pick(rng, EDGES).to_vec(),
        _ => pick(rng, SMALL).to_vec(),
    }
}

fn any_value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(3) {
        0 => value(rng),
        1 => pick(rng, TOKENS).to_vec(),
        _ => integer(rng),
    }
}

const KEYS: &[&[u8]] = &[b"a", b"b", b"{t}1", b"{t}2", b"c", b"d", b"", b"key\xff\0"];
const SMALL: &[&[u8]] = &[b"x", b"y", b"z", b"1", b"2", b"3", b"10", b"f1", b"f2", b"long enough to matter"];
const EDGES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff\xfe\xfd",
    b" ",
    b"\"",
    b"\r\n",
    b"*",
    b"-",
    b"+",
    b"$",
    b"=",
    b"~",
    b"0-0",
    b"0-1",
    b"5-*",
    b">",
    b"(1",
    b"[x",
    b"(x",
    b"-inf",
    b"+inf",
    b"u8",
    b"i64",
    b"u64",
    b"#1",
    b"i5",
];
const INTEGERS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1",
    b"2",
    b"-0",
    b"01",
    b"+1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"4294967295",
    b"4294967296",
    b"2147483647",
    b"2147483648",
    b"-2147483648",
    b"-2147483649",
    b"32767",
    b"4095",
    b"4096",
    b"9223372036854775",
    b"1.5",
    b"",
    b"ten",
];
const DOUBLES: &[&[u8]] = &[
    b"0",
    b"-0.0",
    b"1.5",
    b"-1.5",
    b"3",
    b"inf",
    b"-inf",
    b"nan",
    b"1e308",
    b"-1e308",
    b"5e-324",
    b"1e400",
    b"0.1",
    b"9007199254740993",
    b"1e17",
    b"180",
    b"85.05",
    b"-85.06",
    b"x",
    b"",
];
const PATTERNS: &[&[u8]] = &[b"*", b"?", b"a*", b"*1", b"[a-c]", b"{t}?", b"\\*", b"[^", b"", b"*=>*"];
const TOKENS: &[&[u8]] = &[
    b"EX",
    b"PX",
    b"NX",
    b"XX",
    b"GT",
    b"LT",
    b"KEEPTTL",
    b"GET",
    b"LIMIT",
    b"COUNT",
    b"MATCH",
    b"WITHSCORES",
    b"BYLEX",
    b"BYSCORE",
    b"REV",
    b"STORE",
    b"FIELDS",
    b"AGGREGATE",
    b"WEIGHTS",
    b"MAXLEN",
    b"MINID",
    b"~",
    b"=",
    b"LEFT",
    b"RIGHT",
    b"BEFORE",
    b"AFTER",
    b"RANK",
    b"IDX",
    b"LEN",
    b"REPLACE",
    b"DB",
    b"ASYNC",
    b"SYNC",
    b"TYPE",
    b"string",
    b"OVERFLOW",
    b"FAIL",
    b"SAT",
    b"INCRBY",
    b"SET",
    b"BIT",
    b"BYTE",
    b"AND",
    b"NOT",
    b"DIFF1",
    b"PERSIST",
    b"CH",
    b"INCR",
    b"asc",
];

/// Words for mutation: names of commands, tokens, and values at boundaries.
pub fn words() -> Vec<&'static [u8]> {
    let mut words: Vec<&'static [u8]> = commands().iter().map(|c| c.short_name().as_bytes()).collect();
    for more in [KEYS, SMALL, EDGES, INTEGERS, DOUBLES, PATTERNS, TOKENS] {
        words.extend(more.iter().filter(|word| !word.contains(&b'\n')));
    }
    words.extend([&b"\n"[..], b" ", b"\n@3\n", b"\n@+1000\n"]);
    words
}
