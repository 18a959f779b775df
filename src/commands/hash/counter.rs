//! Fields as numbers: HINCRBY, HINCRBYFLOAT.

use super::{Set, Sight, changed, hash_of, hash_of_mut, limits};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::{NewValue, Value};
use crate::types::ItemBuffer;
use crate::types::extended::Extended;
use crate::types::hash::{Deadline, FieldValue, Hash};

/// `HINCRBY key field increment`
pub fn hincrby(ctx: &mut Context<'_>) -> Outcome {
    let by = ctx.integer(3)?;
    let (key, name, sight) = (ctx.arg(1), ctx.arg(2), Sight::of(ctx));
    let old = Old::of(ctx, key, name, sight, |field| {
        field.value.as_int().ok_or(CommandError::fixed("ERR hash value is not an integer"))
    })?;
    let new = old
        .value
        .unwrap_or(0)
        .checked_add(by)
        .ok_or(const { CommandError::fixed("ERR increment or decrement would overflow") })?;
    let mut digits = itoa::Buffer::new();
    let text = digits.format(new).as_bytes();
    old.replace(ctx, sight, "hincrby", text)?;
    if old.has_deadlines {
        old.propagate(ctx, text);
    }
    ctx.reply.integer(new);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
pub fn hincrbyfloat(ctx: &mut Context<'_>) -> Outcome {
    let by = Extended::parse(ctx.arg(3)).ok_or(CommandError::NotFloat)?;
    if !by.is_finite() {
        return Err(CommandError::fixed("ERR value is NaN or Infinity"));
    }
    let (key, name, sight) = (ctx.arg(1), ctx.arg(2), Sight::of(ctx));
    let old = Old::of(ctx, key, name, sight, |field| {
        Extended::parse(field.value.text(&mut ItemBuffer::new()))
            .ok_or(CommandError::fixed("ERR hash value is not a float"))
    })?;
    let new = old
        .value
        .unwrap_or(Extended::from_f64(0.0))
        .plus(by)
        .filter(|sum| sum.is_finite())
        .ok_or(CommandError::fixed("ERR increment would produce NaN or Infinity"))?;
    let text = new.text();
    old.replace(ctx, sight, "hincrbyfloat", &text)?;
    // The sum itself is propagated: replicas and later versions must not add differently.
    old.propagate(ctx, &text);
    ctx.reply.bulk(&text);
    Ok(())
}

/// A field before it is counted up.
struct Old<'a, T> {
    key: &'a [u8],
    name: &'a [u8],
    exists: bool,
    /// Whether any field of the hash has a deadline.
    has_deadlines: bool,
    /// Unix milliseconds.
    deadline: Option<i64>,
    /// None: no such field.
    value: Option<T>,
}

impl<'a, T> Old<'a, T> {
    fn of(
        ctx: &mut Context<'_>,
        key: &'a [u8],
        name: &'a [u8],
        sight: Sight,
        read: impl FnOnce(FieldValue<'_>) -> Result<T, CommandError>,
    ) -> Result<Self, CommandError> {
        let none = Self { key, name, exists: false, has_deadlines: false, deadline: None, value: None };
        let Some(entry) = ctx.db.write(key) else { return Ok(none) };
        let hash = hash_of(entry)?;
        let field = sight.get(&hash, name);
        Ok(Self {
            exists: true,
            has_deadlines: hash.deadline_count() > 0,
            deadline: field.and_then(|field| field.deadline_ms),
            value: field.map(read).transpose()?,
            ..none
        })
    }

    /// Sets the field to the sum, keeping its deadline.
    fn replace(&self, ctx: &mut Context<'_>, sight: Sight, event: &'static str, text: &[u8]) -> Outcome {
        let limits = limits(ctx.config);
        let deadline = self.deadline.map_or(Deadline::Clear, Deadline::At);
        let mut done = Set::Added;
        if self.exists {
            if let Some(entry) = ctx.db.again(self.key) {
                let mut hash = hash_of_mut(entry)?;
                let had = hash.earliest_deadline_ms();
                done = sight.set(&mut hash, self.name, text, deadline, &limits);
                let has = hash.earliest_deadline_ms();
                drop(hash);
                ctx.db.note_fields(self.key, had, has);
            }
        } else {
            let mut hash = Hash::new();
            hash.set(self.name, text, deadline, &limits);
            ctx.db.insert(self.key, NewValue::Owned(Value::Hash(hash)), None);
        }
        changed(ctx, event, self.key, 1, usize::from(done == Set::ReplacedExpired));
        Ok(())
    }

    /// Says in the stream what the field became: whether it has expired is not for replicas to find out.
    fn propagate(&self, ctx: &mut Context<'_>, text: &[u8]) {
        match self.deadline {
            None => ctx.db.rewrite(&[b"HSET", self.key, self.name, text]),
            Some(deadline) => {
                let mut digits = itoa::Buffer::new();
                let deadline = digits.format(deadline).as_bytes();
                ctx.db.rewrite(&[b"HSETEX", self.key, b"PXAT", deadline, b"FIELDS", b"1", self.name, text]);
            }
        }
    }
}
