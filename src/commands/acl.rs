//! ACL subcommands that only look at the users.

use super::context::{CommandError, Context, Outcome};
use super::refusals;
use super::spec::{CATEGORY_NAMES, Categories};
use super::table::table;
use crate::acl::{Place, Selector, check};
use crate::resp::Reply;

/// What too many words get: these subcommands have no upper limit in their rows.
fn too_many(ctx: &Context<'_>) -> CommandError {
    CommandError::Bytes(refusals::wrong_subcommand_arity(ctx.args))
}

/// `ACL WHOAMI`
pub fn whoami(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.bulk(&ctx.session.user.name);
    Ok(())
}

/// `ACL USERS`
pub fn users(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.array(ctx.acl.users().len());
    ctx.acl.users().for_each(|user| ctx.reply.bulk(&user.name));
    Ok(())
}

/// `ACL LIST`
pub fn list(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.array(ctx.acl.users().len());
    ctx.acl.users().for_each(|user| ctx.reply.bulk(&user.line()));
    Ok(())
}

/// `ACL GETUSER username`
pub fn getuser(ctx: &mut Context<'_>) -> Outcome {
    let Some(user) = ctx.acl.get(ctx.arg(2)) else {
        ctx.reply.null();
        return Ok(());
    };
    let reply = &mut *ctx.reply;
    reply.map(7);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().for_each(|hash| reply.bulk(hash));
    write_selector(&user.selectors()[0], reply);
    reply.bulk(b"selectors");
    reply.array(user.selectors().len() - 1);
    for selector in &user.selectors()[1..] {
        reply.map(4);
        write_selector(selector, reply);
    }
    Ok(())
}

/// Four fields of a map.
fn write_selector(selector: &Selector, reply: &mut Reply) {
    for (name, rules) in [
        ("commands", selector.command_rules()),
        ("keys", selector.key_rules()),
        ("channels", selector.channel_rules()),
        ("databases", selector.database_rules()),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(&rules);
    }
}

/// `ACL CAT [category]`
pub fn cat(ctx: &mut Context<'_>) -> Outcome {
    match ctx.args[2..] {
        [] => {
            ctx.reply.array(CATEGORY_NAMES.len());
            CATEGORY_NAMES.iter().for_each(|name| ctx.reply.bulk(name.as_bytes()));
        }
        [name] => {
            let Some(category) = Categories::by_name(name) else {
                let shown = &name[..name.len().min(128)];
                return Err(CommandError::quoting("ERR Unknown category '", shown, "'"));
            };
            let all = table()
                .iter()
                .flat_map(|command| std::iter::once(command).chain(command.built_subcommands()));
            let names: Vec<&str> =
                all.filter(|c| c.categories.intersects(category)).map(|c| c.name).collect();
            ctx.reply.array(names.len());
            names.iter().for_each(|name| ctx.reply.bulk(name.as_bytes()));
        }
        _ => return Err(too_many(ctx)),
    }
    Ok(())
}

/// `ACL DRYRUN username command [arg ...]`
pub fn dryrun(ctx: &mut Context<'_>) -> Outcome {
    let Some(user) = ctx.acl.get(ctx.arg(2)) else {
        return Err(CommandError::quoting("ERR User '", ctx.arg(2), "' not found"));
    };
    let request = &ctx.args[3..];
    let Ok(command) = table().lookup_request(request) else {
        return Err(CommandError::quoting("ERR Command '", request[0], "' not found"));
    };
    if !command.accepts(request.len()) {
        return Err(CommandError::Arity(command.name));
    }
    let place = Place { db: ctx.session.db, databases: ctx.config.database_count() };
    match check(user, command, request, place) {
        Ok(()) => ctx.reply.ok(),
        Err(denied) => ctx.reply.bulk(&denied.explanation(user, command, request)),
    }
    Ok(())
}
