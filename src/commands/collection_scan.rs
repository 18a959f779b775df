//! What SSCAN, HSCAN and ZSCAN have in common: options, cursor, and a page of elements.

use super::check::cursor_of;
use super::list::reply_item;
use super::{CommandError, Context};
use crate::glob;
use crate::resp::Reply;
use crate::types::{Item, ItemBuffer};

/// What is scanned; each has its own option for keys alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    Set,
    Hash,
    SortedSet,
}

/// Steps through the table per element asked for, at most, so that a sparse table does not make a call long.
const STEPS_PER_ELEMENT: u64 = 10;

/// The options of a scan.
pub struct Scan<'a> {
    count: u64,
    /// None: all.
    pattern: Option<&'a [u8]>,
    /// NOVALUES or NOSCORES.
    pub names_only: bool,
}

/// The elements of one call, written as they are found.
pub struct Page<'r, 'a> {
    reply: &'r mut Reply,
    pattern: Option<&'a [u8]>,
    parts: usize,
    /// Elements that were looked at, whether or not the pattern matched.
    seen: u64,
}

impl Page<'_, '_> {
    /// Whether the pattern, if there is one, matches. Asked once for each element.
    #[inline]
    pub fn wants(&mut self, name: Item<'_>) -> bool {
        self.seen += 1;
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name.text(&mut ItemBuffer::new())))
    }

    /// Adds a name, or what belongs to the name before it.
    #[inline]
    pub fn put(&mut self, part: Item<'_>) {
        reply_item(self.reply, part);
        self.parts += 1;
    }
}

impl<'a> Scan<'a> {
    /// The cursor, argument 2: tested before anything else is looked at.
    pub fn cursor(ctx: &Context<'_>) -> Result<u64, CommandError> {
        cursor_of(ctx.arg(2)).ok_or(CommandError::fixed("ERR invalid cursor"))
    }

    /// Reads `[MATCH pattern] [COUNT count]` and, where it applies, `[NOVALUES]` or `[NOSCORES]`.
    pub fn parse(args: &[&'a [u8]], scanned: Scanned) -> Result<Self, CommandError> {
        let mut scan = Self { count: 10, pattern: None, names_only: false };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let mut value = words.clone();
            match value.next() {
                Some(value_of) if is(b"count") => {
                    let count =
                        crate::resp::decode::parse_integer(value_of).ok_or(CommandError::NotInteger)?;
                    scan.count = u64::try_from(count).ok().filter(|&n| n > 0).ok_or(CommandError::Syntax)?;
                    words = value;
                }
                Some(pattern) if is(b"match") => {
                    scan.pattern = Some(*pattern).filter(|pattern| *pattern != b"*");
                    words = value;
                }
                _ if is(b"novalues") => {
                    if scanned != Scanned::Hash {
                        return Err(CommandError::fixed("ERR NOVALUES option can only be used in HSCAN"));
                    }
                    scan.names_only = true;
                }
                _ if is(b"noscores") => {
                    if scanned != Scanned::SortedSet {
                        return Err(CommandError::fixed("ERR NOSCORES option can only be used in ZSCAN"));
                    }
                    scan.names_only = true;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(scan)
    }

    /// Replies with the elements that `step` puts on the page, and the cursor to go on from. `step` visits one bucket of
    /// a table from a cursor on (or a compact collection as a whole) and returns the next cursor, 0 at the end. COUNT
    /// limits the elements that are looked at: a pattern that matches few makes empty pages, not long calls.
    pub fn run(
        &self,
        reply: &mut Reply,
        mut cursor: u64,
        mut step: impl FnMut(u64, &mut Page<'_, 'a>) -> u64,
    ) {
        let head = reply.deferred_array();
        let mut page = Page { reply, pattern: self.pattern, parts: 0, seen: 0 };
        let mut steps = self.count.saturating_mul(STEPS_PER_ELEMENT);
        loop {
            cursor = step(cursor, &mut page);
            if cursor == 0 || steps == 0 || page.seen >= self.count {
                break;
            }
            steps -= 1;
        }
        let parts = page.parts;
        reply.finish_with(head, |head| {
            head.array(2);
            head.bulk(itoa::Buffer::new().format(cursor).as_bytes());
            head.array(parts);
        });
    }

    /// The reply for a key that is not there.
    pub fn reply_empty(reply: &mut Reply) {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Bench;

    /// The names that a scan with these options meets, and how many calls it took.
    fn scan(bench: &mut Bench, command: &str, options: &str) -> (usize, usize) {
        let (mut met, mut calls, mut cursor) = (0, 0, "0".to_owned());
        loop {
            let reply = bench.say(&format!("{command} big {cursor} {options}"));
            let mut words = reply.lines().filter(|line| !line.starts_with(['$', '*']));
            words.next().expect("a cursor").clone_into(&mut cursor);
            met += words.filter(|word| word.starts_with('m')).count();
            calls += 1;
            if cursor == "0" {
                return (met, calls);
            }
        }
    }

    #[test]
    fn a_call_looks_at_about_as_many_elements_as_it_was_asked_to() {
        for (command, add) in [("SSCAN", "SADD big"), ("HSCAN", "HSET big"), ("ZSCAN", "ZADD big")] {
            let mut bench = Bench::new();
            for i in 0..2000 {
                bench.say(&match command {
                    "SSCAN" => format!("{add} m{i}"),
                    "HSCAN" => format!("{add} m{i} {i}"),
                    _ => format!("{add} {i} m{i}"),
                });
            }
            let (met, calls) = scan(&mut bench, command, "COUNT 100");
            assert!(met >= 2000 && (5..=30).contains(&calls), "{command}: {met} in {calls} calls");
            // What a pattern leaves out counts as well.
            let (met, few) = scan(&mut bench, command, "COUNT 100 MATCH m1999");
            assert!(met >= 1 && few > calls / 2, "{command}: {met} in {few} calls, all in {calls}");
            assert_eq!(scan(&mut bench, command, "MATCH nothing*").0, 0);
        }
    }
}
