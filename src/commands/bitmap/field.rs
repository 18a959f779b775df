//! BITFIELD and BITFIELD_RO: integers of any width at any bit offset of a string.

use super::{check_string, checked_offset, make_room, prepared};
use crate::commands::context::Outcome;
use crate::commands::strings::options::is_option;
use crate::commands::strings::string_of;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::types::number::parse_i64;

/// `i5`, `u63`: up to 64 bits signed, 63 unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width {
    signed: bool,
    bits: u32,
}

impl Width {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let refused = CommandError::fixed(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, bits) = match arg {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return Err(refused),
        };
        let most = if signed { 64 } else { 63 };
        match parse_i64(bits) {
            Some(bits) if (1..=most).contains(&bits) => Ok(Self { signed, bits: bits as u32 }),
            _ => Err(refused),
        }
    }

    fn least(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn greatest(self) -> i128 {
        if self.signed { (1 << (self.bits - 1)) - 1 } else { (1 << self.bits) - 1 }
    }

    /// The number that `bits` bits stand for.
    fn value_of(self, pattern: u64) -> i128 {
        if self.signed {
            let shift = 64 - self.bits;
            i128::from(((pattern << shift) as i64) >> shift)
        } else {
            i128::from(pattern)
        }
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }
}

/// What happens to results that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let all = [("wrap", Self::Wrap), ("sat", Self::Saturate), ("fail", Self::Fail)];
        let found = all.iter().find(|(name, _)| is_option(arg, name));
        found.map(|(_, overflow)| *overflow).ok_or(CommandError::fixed("ERR Invalid OVERFLOW type specified"))
    }

    /// Fits a number into a width; none if it is to fail.
    fn fit(self, value: i128, width: Width) -> Option<i128> {
        if (width.least()..=width.greatest()).contains(&value) {
            return Some(value);
        }
        match self {
            Self::Wrap => Some(width.value_of(value as u64 & width.mask())),
            Self::Saturate => Some(value.clamp(width.least(), width.greatest())),
            Self::Fail => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64, Overflow),
    IncrBy(i64, Overflow),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    width: Width,
    /// In bits.
    offset: u64,
}

fn parse(ctx: &Context<'_>) -> Result<Vec<Step>, CommandError> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while let Some(word) = ctx.args.get(at) {
        let rest = &ctx.args[at + 1..];
        let is = |name, needed| rest.len() >= needed && is_option(word, name);
        let (get, set, incrby) = (is("get", 2), is("set", 3), is("incrby", 3));
        if !(get || set || incrby) {
            if !is("overflow", 1) {
                return Err(CommandError::Syntax);
            }
            overflow = Overflow::parse(rest[0])?;
            at += 2;
            continue;
        }
        let width = Width::parse(rest[0])?;
        let offset = field_offset(ctx, rest[1], width)?;
        let action = if get {
            Action::Get
        } else {
            let amount = ctx.integer(at + 3)?;
            if set { Action::Set(amount, overflow) } else { Action::IncrBy(amount, overflow) }
        };
        steps.push(Step { action, width, offset });
        at += if get { 3 } else { 4 };
    }
    Ok(steps)
}

/// An offset in bits, or with `#` in fields of that width.
fn field_offset(ctx: &Context<'_>, arg: &[u8], width: Width) -> Result<u64, CommandError> {
    let offset = match arg {
        // The product wraps around, as in Valkey.
        [b'#', index @ ..] => parse_i64(index).map(|n| n.wrapping_mul(i64::from(width.bits))),
        _ => parse_i64(arg),
    };
    checked_offset(ctx, offset)
}

/// BITFIELD key [GET type offset | [OVERFLOW how] SET type offset value | INCRBY type offset increment ...]
pub fn bitfield(ctx: &mut Context<'_>) -> Outcome {
    let steps = parse(ctx)?;
    run(ctx, &steps)
}

/// BITFIELD_RO key [GET type offset ...]
pub fn bitfield_ro(ctx: &mut Context<'_>) -> Outcome {
    let steps = parse(ctx)?;
    if steps.iter().any(|step| step.action != Action::Get) {
        return Err(CommandError::fixed("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    run(ctx, &steps)
}

fn run(ctx: &mut Context<'_>, steps: &[Step]) -> Outcome {
    let key = ctx.args[1];
    let written = steps.iter().filter(|step| step.action != Action::Get);
    let Some(last_bit) = written.map(|step| step.offset + u64::from(step.width.bits) - 1).max() else {
        return read_only(ctx, key, steps);
    };
    let room = make_room(ctx, key, (last_bit / 8) as usize + 1)?;
    ctx.reply.array(steps.len());
    let mut changes = 0;
    for step in steps {
        let bytes = prepared(ctx, key);
        let pattern = read_bits(bytes, step.offset, step.width.bits);
        let old = step.width.value_of(pattern);
        let (new, answers_old) = match step.action {
            Action::Get => (Some(old), true),
            Action::Set(value, how) => (how.fit(assigned(value, step.width), step.width), true),
            Action::IncrBy(by, how) => (how.fit(old + i128::from(by), step.width), false),
        };
        let Some(new) = new else {
            ctx.reply.null();
            continue;
        };
        if step.action != Action::Get {
            write_bits(bytes, step.offset, step.width.bits, new as u64 & step.width.mask());
            changes += u64::from(room.grown || new != old);
        }
        ctx.reply.integer(if answers_old { old } else { new } as i64);
    }
    if changes > 0 {
        ctx.db.changed(class::STRING, "setbit", key);
        ctx.db.effects.dirty += changes - 1;
    }
    Ok(())
}

/// The number that SET means. An unsigned field takes a negative one for the huge one of the same bits; and Valkey takes
/// one so small that its distance from the greatest exceeds 64 bits for one that is too large.
fn assigned(value: i64, width: Width) -> i128 {
    let exact = i128::from(value);
    if !width.signed {
        i128::from(value as u64)
    } else if exact < width.least() && width.greatest() - exact > i128::from(i64::MAX) {
        exact + (1 << 64)
    } else {
        exact
    }
}

fn read_only(ctx: &mut Context<'_>, key: &[u8], steps: &[Step]) -> Outcome {
    check_string(ctx, key)?;
    ctx.reply.array(steps.len());
    let mut digits = itoa::Buffer::new();
    let bytes = match ctx.db.visible(key) {
        Some(entry) => string_of(entry, &mut digits)?,
        None => b"",
    };
    for step in steps {
        let pattern = read_bits(bytes, step.offset, step.width.bits);
        ctx.reply.integer(step.width.value_of(pattern) as i64);
    }
    Ok(())
}

/// `bits` bits from bit `offset` on, as a number; bits behind the end are zeros. At most 64 bits, so they lie in nine
/// bytes.
fn read_bits(bytes: &[u8], offset: u64, bits: u32) -> u64 {
    let (at, skip) = ((offset / 8) as usize, (offset % 8) as u32);
    let window = (at..at + 9).fold(0u128, |sum, i| sum << 8 | u128::from(bytes.get(i).copied().unwrap_or(0)));
    (window >> (72 - skip - bits)) as u64 & (u64::MAX >> (64 - bits))
}

/// Writes `bits` bits from bit `offset` on; they lie within the string.
fn write_bits(bytes: &mut [u8], offset: u64, bits: u32, value: u64) {
    let (at, skip) = ((offset / 8) as usize, (offset % 8) as u32);
    let shift = 72 - skip - bits;
    let mask = u128::from(u64::MAX >> (64 - bits)) << shift;
    let window = u128::from(value) << shift;
    for (i, byte) in bytes[at..].iter_mut().take(9).enumerate() {
        let down = 64 - 8 * i as u32;
        *byte = *byte & !((mask >> down) as u8) | (window >> down) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_written_anywhere_read_back_and_leave_the_others_alone() {
        let seed = 5;
        let mut rng = crate::rng::Rng::new(seed);
        for round in 0..5000 {
            let mut bytes: Vec<u8> = (0..24).map(|_| rng.below(256) as u8).collect();
            let before = bytes.clone();
            let bits = 1 + rng.below(64) as u32;
            let offset = rng.below(24 * 8 - u64::from(bits) + 1);
            let value = rng.next_u64() & (u64::MAX >> (64 - bits));
            write_bits(&mut bytes, offset, bits, value);
            assert_eq!(read_bits(&bytes, offset, bits), value, "seed {seed} round {round}");
            for i in 0..24 * 8 {
                let bit = |b: &[u8]| b[i / 8] >> (7 - i % 8) & 1;
                if !(offset..offset + u64::from(bits)).contains(&(i as u64)) {
                    assert_eq!(bit(&bytes), bit(&before), "seed {seed} round {round} bit {i}");
                }
            }
        }
    }

    #[test]
    fn bits_behind_the_end_are_zeros() {
        assert_eq!(read_bits(b"\xff", 4, 8), 0xf0);
        assert_eq!(read_bits(b"", 1 << 40, 64), 0);
    }

    #[test]
    fn each_width_has_its_range_and_its_way_to_overflow() {
        let width = |text: &str| Width::parse(text.as_bytes()).expect("valid");
        assert_eq!(Overflow::Wrap.fit(128, width("i8")), Some(-128));
        assert_eq!(Overflow::Saturate.fit(128, width("i8")), Some(127));
        assert_eq!(Overflow::Fail.fit(128, width("i8")), None);
        assert_eq!(Overflow::Wrap.fit(-1, width("u8")), Some(255));
        assert_eq!(Overflow::Saturate.fit(-1, width("u8")), Some(0));
        assert_eq!(Overflow::Wrap.fit(1 << 63, width("i64")), Some(i128::from(i64::MIN)));
        assert_eq!(Overflow::Fail.fit(i128::from(i64::MIN), width("i64")), Some(i128::from(i64::MIN)));
        let set = |value, how: Overflow, text| how.fit(assigned(value, width(text)), width(text));
        assert_eq!(set(i64::MIN + 1, Overflow::Saturate, "i42"), Some((1 << 41) - 1));
        assert_eq!(set(i64::MIN + 1, Overflow::Wrap, "i42"), Some(1));
        assert_eq!(set(-100, Overflow::Saturate, "i5"), Some(-16));
        assert_eq!(set(-1, Overflow::Saturate, "u5"), Some(31));
        for text in ["", "8", "i", "u0", "i0", "i65", "u64", "I8", "u08", "u-1"] {
            assert!(Width::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
