//! CLIENT subcommands that concern only the client's own session.

use super::context::{CommandError, Context, Outcome};
use crate::session::ReplyMode;

/// `CLIENT ID`
pub fn id(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.integer(ctx.session.id as i64);
    Ok(())
}

/// `CLIENT GETNAME`
pub fn getname(ctx: &mut Context<'_>) -> Outcome {
    if ctx.session.name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&ctx.session.name);
    }
    Ok(())
}

/// Whether a text can stand in one field of CLIENT LIST; `what` names it in the refusal. As in the reference server,
/// which lists it as a C string too, what follows a NUL is not looked at.
pub fn check_name(name: &[u8], what: &str) -> Result<(), CommandError> {
    if name.iter().take_while(|&&b| b != 0).all(|b| (b'!'..=b'~').contains(b)) {
        Ok(())
    } else {
        Err(CommandError::text(format!("ERR {what} cannot contain spaces, newlines or special characters.")))
    }
}

/// `CLIENT SETNAME connection-name`: the empty name removes it.
pub fn setname(ctx: &mut Context<'_>) -> Outcome {
    let name = ctx.arg(2);
    check_name(name, "Client names")?;
    ctx.session.name = name.to_vec();
    ctx.reply.ok();
    Ok(())
}

/// `CLIENT SETINFO LIB-NAME libname | LIB-VER libver`
pub fn setinfo(ctx: &mut Context<'_>) -> Outcome {
    let value = ctx.arg(3);
    // A refusal quotes the option as typed.
    let word = &String::from_utf8_lossy(ctx.arg(2));
    if ctx.is_word(2, "lib-name") {
        check_name(value, word)?;
        ctx.session.lib_name = value.to_vec();
    } else if ctx.is_word(2, "lib-ver") {
        check_name(value, word)?;
        ctx.session.lib_ver = value.to_vec();
    } else {
        return Err(CommandError::quoting("ERR Unrecognized option '", ctx.arg(2), "'"));
    }
    ctx.reply.ok();
    Ok(())
}

/// `CLIENT REPLY ON | OFF | SKIP`: only ON is answered.
pub fn reply(ctx: &mut Context<'_>) -> Outcome {
    if ctx.is_word(2, "on") {
        ctx.session.reply_mode = ReplyMode::On;
        ctx.reply.ok();
    } else if ctx.is_word(2, "off") {
        ctx.session.reply_mode = ReplyMode::Off;
    } else if ctx.is_word(2, "skip") {
        if ctx.session.reply_mode != ReplyMode::Off {
            ctx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn on_or_off(ctx: &Context<'_>) -> Result<bool, CommandError> {
    if ctx.is_word(2, "on") {
        Ok(true)
    } else if ctx.is_word(2, "off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

/// `CLIENT NO-EVICT ON | OFF`
pub fn no_evict(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.no_evict = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(())
}

/// `CLIENT NO-TOUCH ON | OFF`
pub fn no_touch(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.no_touch = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(())
}

/// `CLIENT CAPA capability [capability ...]`: unknown ones are ignored.
pub fn capa(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.capa_redirect |= ctx.args[2..].iter().any(|word| word.eq_ignore_ascii_case(b"redirect"));
    ctx.reply.ok();
    Ok(())
}

/// `CLIENT CACHING YES | NO`: makes the next command an exception from what tracking does otherwise.
pub fn caching(ctx: &mut Context<'_>) -> Outcome {
    let tracking = &mut ctx.session.tracking;
    if !tracking.on {
        return Err(CommandError::fixed(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    match ctx.args[2].to_ascii_lowercase().as_slice() {
        b"yes" if tracking.opt_in => tracking.caching = true,
        b"no" if tracking.opt_out => tracking.caching = true,
        b"yes" => {
            return Err(CommandError::fixed(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
        b"no" => {
            return Err(CommandError::fixed(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
        _ => return Err(CommandError::Syntax),
    }
    ctx.reply.ok();
    Ok(())
}

/// `CLIENT GETREDIR`: -1 without tracking, 0 without redirection.
pub fn getredir(ctx: &mut Context<'_>) -> Outcome {
    let tracking = &ctx.session.tracking;
    ctx.reply.integer(if tracking.on { tracking.redirect as i64 } else { -1 });
    Ok(())
}

/// `CLIENT IMPORT-SOURCE ON | OFF` (spec page key-lifetime.md, 1.1).
pub fn import_source(ctx: &mut Context<'_>) -> Outcome {
    if !ctx.config.import_mode && !ctx.is_word(2, "off") {
        return Err(CommandError::fixed("ERR Server is not in import mode"));
    }
    ctx.session.import_source = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Bench;
    use crate::session::ReplyMode;

    #[test]
    fn names_must_fit_into_a_line_of_client_list() {
        let mut b = Bench::new();
        assert_eq!(
            b.run(&["CLIENT", "SETNAME", "a b"]),
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
        );
        assert_eq!(
            b.run(&["CLIENT", "SETINFO", "Lib-name", "a b"]),
            "-ERR Lib-name cannot contain spaces, newlines or special characters.\r\n"
        );
        assert_eq!(b.say("CLIENT SETINFO foo x"), "-ERR Unrecognized option 'foo'\r\n");
        assert_eq!(b.say("CLIENT SETNAME ab"), "+OK\r\n");
        assert_eq!(b.say("CLIENT GETNAME"), "$2\r\nab\r\n");
        assert_eq!(b.run(&["CLIENT", "SETNAME", ""]), "+OK\r\n");
        assert_eq!(b.say("CLIENT GETNAME"), "$-1\r\n");
    }

    #[test]
    fn import_source_needs_import_mode_except_to_leave_it() {
        let mut b = Bench::new();
        for word in ["on", "garbage"] {
            assert_eq!(b.run(&["CLIENT", "IMPORT-SOURCE", word]), "-ERR Server is not in import mode\r\n");
        }
        assert_eq!(b.say("CLIENT IMPORT-SOURCE OFF"), "+OK\r\n");
        b.config.import_mode = true;
        assert_eq!(b.say("CLIENT IMPORT-SOURCE garbage"), "-ERR syntax error\r\n");
        assert_eq!(b.say("CLIENT IMPORT-SOURCE ON"), "+OK\r\n");
        assert!(b.session.import_source);
        assert_eq!(b.say("RESET"), "+RESET\r\n");
        assert!(!b.session.import_source);
    }

    #[test]
    fn skipping_a_reply_does_not_end_silence() {
        let mut b = Bench::new();
        b.say("CLIENT REPLY OFF");
        b.say("CLIENT REPLY SKIP");
        assert_eq!(b.session.reply_mode, ReplyMode::Off);
        assert_eq!(b.say("CLIENT REPLY ON"), "+OK\r\n");
        assert_eq!(b.say("CLIENT REPLY x"), "-ERR syntax error\r\n");
    }
}
