//! BITOP: combining strings bit by bit.

use super::check_string;
use crate::commands::context::Outcome;
use crate::commands::strings::options::is_option;
use crate::commands::strings::string_of;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, StringKind, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        let all = [("and", Self::And), ("or", Self::Or), ("xor", Self::Xor), ("not", Self::Not)];
        let found = all.iter().find(|(name, _)| is_option(word, name));
        found.map(|(_, operation)| *operation).ok_or(CommandError::Syntax)
    }

    /// Takes a further source into the result, which is at least as long. Missing bytes count as zeros.
    fn take(self, result: &mut [u8], source: &[u8]) {
        let (head, tail) = result.split_at_mut(source.len());
        let pairs = head.iter_mut().zip(source);
        match self {
            Self::And => {
                pairs.for_each(|(a, b)| *a &= b);
                tail.fill(0);
            }
            Self::Or => pairs.for_each(|(a, b)| *a |= b),
            Self::Xor => pairs.for_each(|(a, b)| *a ^= b),
            Self::Not => unreachable!("NOT has a single source"),
        }
    }
}

/// BITOP AND | OR | XOR | NOT destkey key [key ...]
pub fn bitop(ctx: &mut Context<'_>) -> Outcome {
    let operation = Operation::parse(ctx.args[1])?;
    let (target, sources) = (ctx.args[2], &ctx.args[3..]);
    if operation == Operation::Not && sources.len() != 1 {
        return Err(CommandError::fixed("ERR BITOP NOT must be called with a single source key."));
    }
    for key in sources {
        check_string(ctx, key)?;
    }
    let result = combine(ctx, operation, sources)?;
    let len = result.len();
    if len > 0 {
        let result = Value::Str(result, StringKind::Raw);
        ctx.db.write_and_set(target, NewValue::Owned(result), Expiry::Drop);
        ctx.db.changed(class::STRING, "set", target);
    } else if ctx.db.remove(target) {
        ctx.db.changed(class::GENERIC, "del", target);
    }
    ctx.reply.integer(len as i64);
    Ok(())
}

fn combine(ctx: &Context<'_>, operation: Operation, keys: &[&[u8]]) -> Result<Vec<u8>, CommandError> {
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        entries.push(ctx.db.visible(key));
    }
    let len = entries.iter().flatten().map(|entry| entry.string_len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(len);
    for (i, entry) in entries.into_iter().enumerate() {
        let mut digits = itoa::Buffer::new();
        let source = entry.map_or(Ok(&b""[..]), |entry| string_of(entry, &mut digits))?;
        if i == 0 {
            result.extend_from_slice(source);
            result.resize(len, 0);
        } else {
            operation.take(&mut result, source);
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(result)
}
