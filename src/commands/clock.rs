//! TIME.

use super::context::{Context, Outcome};

/// `TIME`: seconds and microseconds since 1970.
pub fn time(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.array(2);
    ctx.reply.bulk_integer(ctx.now_us.div_euclid(1_000_000));
    ctx.reply.bulk_integer(ctx.now_us.rem_euclid(1_000_000));
    Ok(())
}
