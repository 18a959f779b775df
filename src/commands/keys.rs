//! Finding the keys in a request, as Valkey does it: by the key specs of the command's row, and where these cannot
//! tell, by a procedure for that command.

use smallvec::SmallVec;

use super::key_spec::*;
use super::table::Command;

/// One key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef {
    /// Index into the request's words; the command name is 0.
    pub position: u32,
    /// What the command does to the key. With [`NOT_KEY`] it is a shard channel: hashed like a key, but not one.
    pub flags: KeyFlags,
}

/// The keys of a request. Most requests have one or two.
pub type KeyList = SmallVec<[KeyRef; 4]>;

/// The positions of a command's keys when the row alone tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyShape {
    /// No keys.
    None,
    /// Exactly one, and it is word 1.
    First,
    /// Words `first`, `first + step`, ... up to `last` (negative: counted from the end, -1 being the last word).
    Range { first: i16, last: i16, step: i16 },
    /// Only [`keys_of`] can tell.
    Other,
}

/// The arguments do not say where the keys are: a bad key count, a missing keyword, too few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the request cannot be told")]
pub struct InvalidKeys;

/// Fills `list` with the keys of the request `args` (command name first, subcommand second if there is one),
/// shard channels included. The request must satisfy the arity.
///
/// On error `list` still holds the keys that could be told: enough to route a request that will be refused, or one
/// such as `PFMERGE destination`, whose sources are missing.
pub fn keys_of(command: &Command, args: &[&[u8]], list: &mut KeyList) -> Result<(), InvalidKeys> {
    list.clear();
    if command.keys.is_empty() {
        return Ok(());
    }
    let variable = command.keys.iter().any(|spec| spec.flags.has(VARIABLE_FLAGS));
    if !variable && specs(command.keys, args, list) {
        return Ok(());
    }
    let result = match command.name {
        "set" => set(args, list),
        "bitfield" => bitfield(args, list),
        "georadius" | "georadiusbymember" => georadius(args, list),
        "sort" => sort(args, list),
        "sort_ro" => found(list, &[(1, RO | ACCESS)]),
        "migrate" => migrate(args, list),
        "zunionstore" | "zinterstore" | "zdiffstore" => counted(args, list, Some(1), 2),
        "zunion" | "zinter" | "zdiff" | "zintercard" | "sintercard" | "zmpop" | "lmpop" => {
            counted(args, list, None, 1)
        }
        "eval" | "evalsha" | "eval_ro" | "evalsha_ro" | "fcall" | "fcall_ro" | "bzmpop" | "blmpop" => {
            counted(args, list, None, 2)
        }
        _ => Err(InvalidKeys),
    };
    list.retain(|key| (key.position as usize) < args.len());
    result
}

/// Applies all specs; false if one of them fails or is incomplete (the keys of the others are in the list then).
fn specs(specs: &[KeySpec], args: &[&[u8]], list: &mut KeyList) -> bool {
    let mut complete = true;
    for spec in specs {
        match positions(spec, args) {
            Some((first, last, step)) => {
                list.extend(
                    (first..=last)
                        .step_by(step)
                        .map(|position| KeyRef { position: position as u32, flags: spec.flags }),
                );
                complete &= !spec.flags.has(INCOMPLETE);
            }
            None => complete = false,
        }
    }
    complete
}

/// (first, last, step) of one spec, if the request fits it.
fn positions(spec: &KeySpec, args: &[&[u8]]) -> Option<(usize, usize, usize)> {
    let count = args.len() as i64;
    let start = match spec.begin {
        BeginSearch::Index(index) => i64::from(index),
        BeginSearch::Keyword { keyword, start_from } => after_keyword(keyword, start_from, args)?,
        BeginSearch::Unknown => return None,
    };
    let (first, last, step) = match spec.find {
        FindKeys::Range { last, step, .. } if last >= 0 => (start, start + i64::from(last), step),
        FindKeys::Range { last, step, limit } if limit <= 1 => (start, count + i64::from(last), step),
        FindKeys::Range { last, step, limit } => {
            (start, start + (count - start) / i64::from(limit) + i64::from(last), step)
        }
        FindKeys::KeyNum { index, first, step } => {
            let word = args.get(usize::try_from(start + i64::from(index)).ok()?)?;
            let keys: i64 = strict_integer(word).filter(|keys| (1..=count).contains(keys))?;
            let first = start + i64::from(first);
            (first, first + (keys - 1) * i64::from(step), step)
        }
        FindKeys::Unknown => return None,
    };
    if first < 1 || last < first || last >= count {
        return None;
    }
    // The three are positive and below `count`, which came from a length.
    Some((first as usize, last as usize, step as usize))
}

/// The position behind the keyword. The last word of the direction of search is not looked at, since no key could
/// follow it.
fn after_keyword(keyword: &str, start_from: i16, args: &[&[u8]]) -> Option<i64> {
    let matches = |word: &&[u8]| word.eq_ignore_ascii_case(keyword.as_bytes());
    let found = if start_from > 0 {
        let start = usize::from(start_from.unsigned_abs());
        let candidates = args.get(start..args.len().checked_sub(1)?)?;
        start + candidates.iter().position(matches)?
    } else {
        let start = args.len().checked_sub(usize::from(start_from.unsigned_abs()))?;
        args.get(2..=start)?.iter().rposition(matches)? + 2
    };
    Some(found as i64 + 1)
}

/// A decimal integer without anything else around it.
fn strict_integer(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let canonical = match digits {
        [b'0'] => digits.len() == word.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn found(list: &mut KeyList, keys: &[(usize, u16)]) -> Result<(), InvalidKeys> {
    list.clear();
    list.extend(
        keys.iter().map(|&(position, flags)| KeyRef { position: position as u32, flags: KeyFlags(flags) }),
    );
    Ok(())
}

/// SET with GET returns the old value. (IFEQ compares it, but Valkey does not count that as access.)
fn set(args: &[&[u8]], list: &mut KeyList) -> Result<(), InvalidKeys> {
    let reads = args.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get"));
    found(list, &[(1, if reads { RW | ACCESS | UPDATE } else { OW | UPDATE })])
}

/// BITFIELD only reads if all its operations are GET.
fn bitfield(args: &[&[u8]], list: &mut KeyList) -> Result<(), InvalidKeys> {
    let mut rest = args.get(2..).unwrap_or(&[]);
    let mut reads_only = true;
    while let [operation, operands @ ..] = rest {
        let skip = if operation.eq_ignore_ascii_case(b"get") {
            2
        } else if operation.eq_ignore_ascii_case(b"overflow") {
            1
        } else {
            usize::MAX
        };
        let Some(next) = operands.get(skip..) else {
            reads_only = false; // a write, or a mistake: the safer guess
            break;
        };
        rest = next;
    }
    found(list, &[(1, if reads_only { RO | ACCESS } else { RW | ACCESS | UPDATE })])
}

/// The last STORE or STOREDIST counts.
fn georadius(args: &[&[u8]], list: &mut KeyList) -> Result<(), InvalidKeys> {
    let mut store = None;
    let mut at = 5;
    while at + 1 < args.len() {
        if args[at].eq_ignore_ascii_case(b"store") || args[at].eq_ignore_ascii_case(b"storedist") {
            at += 1;
            store = Some(at);
        }
        at += 1;
    }
    source_and_store(store, list)
}

/// The last STORE counts, unless the word belongs to another option.
fn sort(args: &[&[u8]], list: &mut KeyList) -> Result<(), InvalidKeys> {
    let mut store = None;
    let mut at = 2;
    while at < args.len() {
        let word = args[at];
        if word.eq_ignore_ascii_case(b"limit") {
            at += 2;
        } else if word.eq_ignore_ascii_case(b"get") || word.eq_ignore_ascii_case(b"by") {
            at += 1;
        } else if word.eq_ignore_ascii_case(b"store") && at + 1 < args.len() {
            at += 1;
            store = Some(at);
        }
        at += 1;
    }
    source_and_store(store, list)
}

fn source_and_store(store: Option<usize>, list: &mut KeyList) -> Result<(), InvalidKeys> {
    match store {
        Some(store) => found(list, &[(1, RO | ACCESS), (store, OW | UPDATE)]),
        None => found(list, &[(1, RO | ACCESS)]),
    }
}

/// One key at position 3, or, if that is empty, all words after KEYS.
fn migrate(args: &[&[u8]], list: &mut KeyList) -> Result<(), InvalidKeys> {
    const FLAGS: u16 = RW | ACCESS | DELETE;
    let mut at = 6;
    while at < args.len() {
        let word = args[at];
        if word.eq_ignore_ascii_case(b"keys") {
            list.clear();
            if args.get(3).is_some_and(|key| !key.is_empty()) {
                return Err(InvalidKeys);
            }
            if at + 1 == args.len() {
                break;
            }
            list.extend(
                (at + 1..args.len())
                    .map(|position| KeyRef { position: position as u32, flags: KeyFlags(FLAGS) }),
            );
            return Ok(());
        }
        at += match () {
            () if word.eq_ignore_ascii_case(b"auth") => 2,
            () if word.eq_ignore_ascii_case(b"auth2") => 3,
            () => 1,
        };
    }
    found(list, &[(3, FLAGS)])
}

/// A count at position `count_at`, then the keys. It is reached only when the specs have failed, so all it adds is
/// Valkey's leniency about the count: trailing garbage is ignored and large numbers wrap around.
fn counted(
    args: &[&[u8]],
    list: &mut KeyList,
    store: Option<usize>,
    count_at: usize,
) -> Result<(), InvalidKeys> {
    let first = count_at + 1;
    let keys = args.get(count_at).map_or(0, |word| lenient_integer(word));
    let keys = usize::try_from(keys).unwrap_or(0);
    if keys == 0 || keys > args.len().saturating_sub(first) {
        return Err(InvalidKeys);
    }
    list.clear();
    let positions = (first..first + keys).chain(store);
    list.extend(positions.map(|position| KeyRef { position: position as u32, flags: KeyFlags(0) }));
    Ok(())
}

/// Like C's `atoi` on a 64-bit machine: the digits in front, saturating at 64 bits, then cut to 32.
fn lenient_integer(word: &[u8]) -> i32 {
    let word = word.trim_ascii_start();
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    };
    let value = digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        value.saturating_mul(10).saturating_add(if negative { -digit } else { digit })
    });
    value as i32
}
