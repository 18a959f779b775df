//! One bit: SETBIT and GETBIT.

use super::{bit_offset, make_room, prepared};
use crate::commands::context::Outcome;
use crate::commands::strings::string_of;
use crate::commands::{CommandError, Context};
use crate::effects::class;

/// SETBIT key offset value
pub fn setbit(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.args[1];
    let offset = bit_offset(ctx, ctx.args[2])?;
    let on = match ctx.args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::fixed("ERR bit is not an integer or out of range")),
    };
    let (at, mask) = ((offset / 8) as usize, 0x80u8 >> (offset % 8));
    let room = make_room(ctx, key, at + 1)?;
    let byte = &mut prepared(ctx, key)[at];
    let was = *byte & mask != 0;
    if on {
        *byte |= mask;
    } else {
        *byte &= !mask;
    }
    if room.grown || was != on {
        ctx.db.changed(class::STRING, "setbit", key);
    }
    ctx.reply.integer(i64::from(was));
    Ok(())
}

/// GETBIT key offset
pub fn getbit(ctx: &mut Context<'_>) -> Outcome {
    let offset = bit_offset(ctx, ctx.args[2])?;
    let bit = match ctx.db.read(ctx.args[1]) {
        Some(entry) => {
            let mut digits = itoa::Buffer::new();
            let byte = string_of(entry, &mut digits)?.get((offset / 8) as usize);
            byte.is_some_and(|byte| byte & (0x80 >> (offset % 8)) != 0)
        }
        None => false,
    };
    ctx.reply.integer(i64::from(bit));
    Ok(())
}
