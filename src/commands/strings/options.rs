//! The options that SET, GETEX, MSETEX, HSETEX and HGETEX share: a condition, GET, and what becomes of the deadline.

use crate::commands::{CommandError, Context};
use crate::keyspace::access::Expiry;

/// Which command's options are read; each allows its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    Set,
    /// HGETEX, too.
    GetEx,
    MsetEx,
    HsetEx,
}

/// When to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Condition<'a> {
    #[default]
    Always,
    /// NX
    Missing,
    /// XX
    Present,
    /// IFEQ
    Equals(&'a [u8]),
}

/// What a deadline argument counts and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// EX
    Seconds,
    /// PX
    Milliseconds,
    /// EXAT
    SecondsAt,
    /// PXAT
    MillisecondsAt,
}

/// What becomes of the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lifetime<'a> {
    #[default]
    Unsaid,
    Keep,
    Persist,
    Of(Unit, &'a [u8]),
}

/// The options of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub condition: Condition<'a>,
    /// FNX or FXX: a condition on fields instead of keys.
    pub fields: Condition<'a>,
    pub get: bool,
    pub lifetime: Lifetime<'a>,
}

/// Whether an option word is this one. Valkey reads option words as C strings: what follows a zero byte is not looked at.
pub fn is_option(arg: &[u8], word: &str) -> bool {
    let len = word.len();
    arg.get(..len).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
        && arg.get(len).is_none_or(|&next| next == 0)
}

impl<'a> Options<'a> {
    /// Reads options to the end of `args`.
    pub fn parse(args: &[&'a [u8]], grammar: Grammar) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            options.take(word, &mut words, grammar)?;
        }
        Ok(options)
    }

    fn take(
        &mut self,
        word: &[u8],
        rest: &mut std::slice::Iter<'_, &'a [u8]>,
        grammar: Grammar,
    ) -> Result<(), CommandError> {
        let sets = grammar != Grammar::GetEx;
        if sets && is_option(word, "nx") {
            return say(&mut self.condition, Condition::Missing);
        }
        if sets && is_option(word, "xx") {
            return say(&mut self.condition, Condition::Present);
        }
        if grammar == Grammar::HsetEx && is_option(word, "fnx") {
            return say(&mut self.fields, Condition::Missing);
        }
        if grammar == Grammar::HsetEx && is_option(word, "fxx") {
            return say(&mut self.fields, Condition::Present);
        }
        if grammar == Grammar::Set && is_option(word, "ifeq") {
            let value = rest.next().ok_or(CommandError::Syntax)?;
            if self.condition != Condition::Always {
                return Err(CommandError::Syntax);
            }
            self.condition = Condition::Equals(value);
            return Ok(());
        }
        if grammar == Grammar::Set && is_option(word, "get") {
            self.get = true;
            return Ok(());
        }
        if sets && is_option(word, "keepttl") {
            return self.lifetime(Lifetime::Keep);
        }
        if !sets && is_option(word, "persist") {
            return self.lifetime(Lifetime::Persist);
        }
        let units = [
            ("ex", Unit::Seconds),
            ("px", Unit::Milliseconds),
            ("exat", Unit::SecondsAt),
            ("pxat", Unit::MillisecondsAt),
        ];
        for (name, unit) in units {
            if is_option(word, name) {
                let amount = rest.next().ok_or(CommandError::Syntax)?;
                return self.lifetime(Lifetime::Of(unit, amount));
            }
        }
        Err(CommandError::Syntax)
    }

    /// The same kind of deadline may be said twice (the last counts), different ones not.
    fn lifetime(&mut self, said: Lifetime<'a>) -> Result<(), CommandError> {
        let same_kind = match (self.lifetime, said) {
            (Lifetime::Unsaid, _) => true,
            (Lifetime::Of(a, _), Lifetime::Of(b, _)) => a == b,
            (a, b) => a == b,
        };
        if !same_kind {
            return Err(CommandError::Syntax);
        }
        self.lifetime = said;
        Ok(())
    }

    /// The deadline in Unix milliseconds, if one was given.
    pub fn deadline(&self, ctx: &Context<'_>) -> Result<Option<i64>, CommandError> {
        match self.lifetime {
            Lifetime::Of(unit, amount) => deadline(ctx, unit, amount).map(Some),
            Lifetime::Unsaid | Lifetime::Keep | Lifetime::Persist => Ok(None),
        }
    }

    /// What a set does to the deadline, `deadline` being what [`Options::deadline`] said.
    pub fn expiry(&self, deadline: Option<i64>) -> Expiry {
        match deadline {
            Some(at) => Expiry::At(at),
            None if self.lifetime == Lifetime::Keep => Expiry::Keep,
            None => Expiry::Drop,
        }
    }

    /// Whether the deadline was given as PXAT already, so that propagating it as typed means the same later.
    pub fn is_absolute(&self) -> bool {
        matches!(self.lifetime, Lifetime::Of(Unit::MillisecondsAt, _))
    }
}

/// Takes note of a condition. The same may be said twice, different ones not.
fn say<'a>(condition: &mut Condition<'a>, said: Condition<'a>) -> Result<(), CommandError> {
    if *condition != Condition::Always && *condition != said {
        return Err(CommandError::Syntax);
    }
    *condition = said;
    Ok(())
}

/// Reads a deadline argument: positive, and in milliseconds within 64 bits. Returns Unix milliseconds.
pub fn deadline(ctx: &Context<'_>, unit: Unit, amount: &[u8]) -> Result<i64, CommandError> {
    let amount = crate::resp::decode::parse_integer(amount).ok_or(CommandError::NotInteger)?;
    let refused = CommandError::InvalidExpire(ctx.spec.name);
    if amount <= 0 {
        return Err(refused);
    }
    let in_ms = match unit {
        Unit::Seconds | Unit::SecondsAt => amount.checked_mul(1000),
        Unit::Milliseconds | Unit::MillisecondsAt => Some(amount),
    };
    let from = match unit {
        Unit::Seconds | Unit::Milliseconds => ctx.db.now,
        Unit::SecondsAt | Unit::MillisecondsAt => 0,
    };
    in_ms.and_then(|ms| ms.checked_add(from)).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(words: &[&'a str], grammar: Grammar) -> Option<Options<'a>> {
        let args: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
        Options::parse(&args, grammar).ok()
    }

    #[test]
    fn options_exclude_each_other_as_in_valkey() {
        let ok = |words: &[&str]| parse(words, Grammar::Set).is_some();
        assert!(ok(&["NX", "nx", "GET", "get", "EX", "1", "ex", "2"]));
        assert!(ok(&["IFEQ", "x", "KEEPTTL", "keepttl"]));
        for words in [
            &["NX", "XX"][..],
            &["NX", "IFEQ", "x"],
            &["IFEQ", "x", "XX"],
            &["IFEQ", "x", "IFEQ", "x"],
            &["IFEQ"],
            &["EX", "1", "PX", "1"],
            &["EX", "1", "KEEPTTL"],
            &["EX"],
            &["PERSIST"],
            &["NXX"],
        ] {
            assert!(!ok(words), "{words:?}");
        }
    }

    #[test]
    fn each_command_knows_its_own_options() {
        assert!(parse(&["PERSIST", "persist"], Grammar::GetEx).is_some());
        for words in [&["NX"][..], &["GET"], &["KEEPTTL"], &["PERSIST", "EX", "1"]] {
            assert!(parse(words, Grammar::GetEx).is_none(), "{words:?}");
        }
        assert!(parse(&["XX", "KEEPTTL"], Grammar::MsetEx).is_some());
        for words in [&["GET"][..], &["IFEQ", "x"], &["PERSIST"]] {
            assert!(parse(words, Grammar::MsetEx).is_none(), "{words:?}");
        }
    }

    #[test]
    fn an_option_word_ends_at_a_zero_byte() {
        assert!(is_option(b"nx", "nx") && is_option(b"NX\0tail", "nx"));
        assert!(!is_option(b"nxa", "nx") && !is_option(b"n", "nx"));
    }
}
