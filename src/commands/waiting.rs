//! What the commands share that wait for a key: the timeout, the wait itself, and how such a command is run again.
//!
//! A command that finds nothing records a [`Wait`] and replies nothing. Its client is blocked; when one of the keys
//! may have become what it waits for, the same command runs again from the start.

use super::context::Outcome;
use super::{CommandError, Context};
use crate::effects::{AwaitedType, Wait};
use crate::types::extended::Extended;

/// Reads a timeout in seconds, which may have a fraction, and returns the time it ends in Unix milliseconds; 0 if the
/// client is to wait without limit.
pub fn deadline_of(ctx: &Context<'_>, word: &[u8]) -> Result<i64, CommandError> {
    const OUT_OF_RANGE: CommandError = CommandError::fixed("ERR timeout is out of range");
    let seconds =
        Extended::parse(word).ok_or(CommandError::fixed("ERR timeout is not a float or out of range"))?;
    match seconds.times_rounded_up(1000) {
        i64::MAX => Err(OUT_OF_RANGE),
        0 => Ok(0),
        ms if ms < 0 => Err(CommandError::fixed("ERR timeout is negative")),
        ms => ms.checked_add(ctx.db.now).ok_or(OUT_OF_RANGE),
    }
}

/// Blocks the client until one of the keys may be of the type, or does what `or_else` does where clients cannot block.
pub fn wait_for(
    ctx: &mut Context<'_>,
    keys: &[&[u8]],
    awaited: AwaitedType,
    deadline_ms: i64,
    or_else: impl FnOnce(&mut Context<'_>),
) -> Outcome {
    if ctx.db.effects.may_wait {
        let keys = keys.iter().map(|&key| key.into()).collect();
        ctx.db.effects.wait =
            Some(Wait { keys, awaited, until_loss: false, deadline_ms, rewritten: Vec::new() });
    } else {
        or_else(ctx);
    }
    Ok(())
}

/// The request of a blocked command (its full name and words) with only those of its keys that `is_here`: a shard
/// serves a client with what it owns itself. `None` if the command needs all its keys, and they are not all here, or
/// if none is.
pub fn restricted<'a>(
    name: &str,
    args: &[&'a [u8]],
    is_here: impl Fn(&[u8]) -> bool,
) -> Option<Vec<Vec<u8>>> {
    let copy = |words: &[&'a [u8]]| words.iter().map(|w| w.to_vec()).collect::<Vec<_>>();
    match name {
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" => {
            let (timeout, keys) = args[1..].split_last()?;
            let kept: Vec<&[u8]> = keys.iter().copied().filter(|key| is_here(key)).collect();
            (!kept.is_empty()).then(|| [copy(&args[..1]), copy(&kept), copy(&[timeout])].concat())
        }
        "blmpop" | "bzmpop" => {
            let count = std::str::from_utf8(args.get(2)?).ok()?.parse::<usize>().ok()?;
            let keys = args.get(3..count.checked_add(3)?)?;
            let kept: Vec<&[u8]> = keys.iter().copied().filter(|key| is_here(key)).collect();
            let number = kept.len().to_string().into_bytes();
            (!kept.is_empty())
                .then(|| [copy(&args[..2]), vec![number], copy(&kept), copy(&args[3 + count..])].concat())
        }
        "xread" | "xreadgroup" => {
            let streams = 1 + streams_at(args)?;
            let (keys, ids) = args[streams..].split_at((args.len() - streams) / 2);
            let kept: Vec<usize> = (0..keys.len()).filter(|&i| is_here(keys[i])).collect();
            let pick = |words: &[&[u8]]| kept.iter().map(|&i| words[i].to_vec()).collect::<Vec<_>>();
            (!kept.is_empty()).then(|| [copy(&args[..streams]), pick(keys), pick(ids)].concat())
        }
        _ => None,
    }
}

/// The position of the word STREAMS, options and their values skipped.
fn streams_at(args: &[&[u8]]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = args.get(at)?;
        at += match word.to_ascii_uppercase().as_slice() {
            b"STREAMS" => return Some(at),
            b"GROUP" => 3,
            b"BLOCK" | b"COUNT" => 2,
            _ => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restrict(line: &str, here: &str) -> Option<String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let kept = restricted(&name, &words, |key| here.as_bytes().windows(key.len()).any(|w| w == key))?;
        Some(kept.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_shard_serves_with_the_keys_it_has() {
        for (line, here, kept) in [
            ("BLPOP a b c 0", "ac", Some("BLPOP a c 0")),
            ("BRPOP a b 1.5", "b", Some("BRPOP b 1.5")),
            ("BZPOPMIN a b 0", "x", None),
            ("BLMPOP 0 3 a b c LEFT COUNT 2", "bc", Some("BLMPOP 0 2 b c LEFT COUNT 2")),
            ("BZMPOP 0 1 a MIN", "a", Some("BZMPOP 0 1 a MIN")),
            ("XREAD BLOCK 0 STREAMS a b 1 2", "b", Some("XREAD BLOCK 0 STREAMS b 2")),
            (
                "XREADGROUP GROUP streams x COUNT 1 BLOCK 5 NOACK STREAMS a b > >",
                "a",
                Some("XREADGROUP GROUP streams x COUNT 1 BLOCK 5 NOACK STREAMS a >"),
            ),
            ("BLMOVE a b LEFT LEFT 0", "a", None),
        ] {
            assert_eq!(restrict(line, here).as_deref(), kept, "{line}");
        }
    }
}
