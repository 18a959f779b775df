//! Commands about the connection itself: PING, ECHO, SELECT, QUIT, RESET, HELLO, AUTH.

use super::client::check_name;
use super::context::{CommandError, Context, Outcome};
use crate::acl::DEFAULT_USER;
use crate::resp::Protocol;
use crate::version::{REDIS_VERSION, VERSION};

/// `PING [message]`
pub fn ping(ctx: &mut Context<'_>) -> Outcome {
    match ctx.args.len() {
        1 | 2 if ctx.session.subscriptions > 0 && ctx.session.protocol == Protocol::Resp2 => {
            // In the shape of a message, since that is what a subscriber's parser expects.
            ctx.reply.array(2);
            ctx.reply.bulk(b"pong");
            ctx.reply.bulk(ctx.args.get(1).copied().unwrap_or_default());
        }
        1 => ctx.reply.simple("PONG"),
        2 => ctx.reply.bulk(ctx.arg(1)),
        _ => return Err(ctx.arity_error()),
    }
    Ok(())
}

/// `ECHO message`
pub fn echo(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.bulk(ctx.arg(1));
    Ok(())
}

/// `SELECT index`
pub fn select(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.db = ctx.database(1)?.ok_or(CommandError::DbOutOfRange)?;
    ctx.reply.ok();
    Ok(())
}

/// `QUIT`
pub fn quit(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.close_after_reply = true;
    ctx.reply.ok();
    Ok(())
}

/// `RESET`
pub fn reset(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.reset(ctx.acl.is_open());
    ctx.reply.set_protocol(ctx.session.protocol);
    ctx.reply.simple("RESET");
    Ok(())
}

fn authenticate(ctx: &mut Context<'_>, name: &[u8], password: &[u8]) -> Outcome {
    let Some(user) = ctx.acl.authenticate(name, password) else {
        ctx.session.failed_login = Some((name.to_vec(), ctx.arg(0).to_vec()));
        return Err(CommandError::fixed("WRONGPASS invalid username-password pair or user is disabled."));
    };
    ctx.session.user = user.clone();
    ctx.session.authenticated = true;
    Ok(())
}

/// `AUTH [username] password`
pub fn auth(ctx: &mut Context<'_>) -> Outcome {
    match *ctx.args {
        [_, _] if ctx.acl.default_user().nopass => {
            return Err(CommandError::fixed(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        [_, password] => authenticate(ctx, DEFAULT_USER, password)?,
        [_, user, password] => authenticate(ctx, user, password)?,
        _ => return Err(CommandError::Syntax),
    }
    ctx.reply.ok();
    Ok(())
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
pub fn hello(ctx: &mut Context<'_>) -> Outcome {
    let mut protocol = ctx.session.protocol;
    if ctx.args.len() >= 2 {
        protocol = match ctx.integer(1) {
            Ok(2) => Protocol::Resp2,
            Ok(3) => Protocol::Resp3,
            Ok(_) => return Err(CommandError::fixed("NOPROTO unsupported protocol version")),
            Err(_) => {
                return Err(CommandError::fixed("ERR Protocol version is not an integer or out of range"));
            }
        };
    }
    let mut credentials = None;
    let mut name = None;
    let mut at = 2;
    while at < ctx.args.len() {
        let left = ctx.args.len() - at - 1;
        if ctx.is_word(at, "auth") && left >= 2 {
            credentials = Some((ctx.arg(at + 1), ctx.arg(at + 2)));
            at += 3;
        } else if ctx.is_word(at, "setname") && left >= 1 {
            check_name(ctx.arg(at + 1), "Client names")?;
            name = Some(ctx.arg(at + 1));
            at += 2;
        } else {
            return Err(CommandError::quoting("ERR Syntax error in HELLO option '", ctx.arg(at), "'"));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(ctx, user, password)?;
    }
    if !ctx.session.authenticated {
        return Err(CommandError::fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = name {
        ctx.session.name = name.to_vec();
    }
    ctx.session.protocol = protocol;
    ctx.reply.set_protocol(protocol);
    describe_server(ctx);
    Ok(())
}

fn describe_server(ctx: &mut Context<'_>) {
    let (config, is_replica) = (ctx.config, ctx.is_replica);
    let (server, version) =
        if config.extended_redis_compatibility { ("redis", REDIS_VERSION) } else { ("valkey", VERSION) };
    let zone = config.availability_zone.as_bytes();
    let reply = &mut *ctx.reply;
    reply.map(if zone.is_empty() { 7 } else { 8 });
    reply.bulk(b"server");
    reply.bulk(server.as_bytes());
    reply.bulk(b"version");
    reply.bulk(version.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if ctx.session.protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(ctx.session.id as i64);
    reply.bulk(b"mode");
    reply.bulk(if config.cluster_enabled { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(if is_replica { b"replica" } else { b"master" });
    reply.bulk(b"modules");
    // The built-in scripting engine presents itself as a module.
    reply.array(1);
    reply.map(4);
    reply.bulk(b"name");
    reply.bulk(b"lua");
    reply.bulk(b"ver");
    reply.integer(1);
    reply.bulk(b"path");
    reply.bulk(b"lua");
    reply.bulk(b"args");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone);
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Bench;

    #[test]
    fn a_password_is_asked_for_in_every_way_of_giving_it() {
        let mut b = Bench::new();
        assert!(b.say("AUTH x").starts_with("-ERR AUTH <password> called without any password"));
        assert_eq!(b.say("AUTH default x"), "+OK\r\n");
        let mut user = (**b.acl.default_user()).clone();
        user.set_only_password(b"secret");
        b.acl.insert(user);
        b.session.authenticated = false;
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        for command in ["AUTH secre", "AUTH default x", "AUTH nobody secret", "HELLO 3 AUTH default x"] {
            assert_eq!(b.say(command), wrong, "{command}");
        }
        assert!(b.say("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
        assert!(!b.session.authenticated);
        assert!(b.say("HELLO 3 AUTH default secret SETNAME me").starts_with("%7\r\n"));
        assert!(b.session.authenticated);
        assert_eq!(b.say("CLIENT GETNAME"), "$2\r\nme\r\n");
        assert_eq!(b.say("AUTH a b c"), "-ERR syntax error\r\n");
        assert_eq!(b.say("RESET"), "+RESET\r\n");
        assert!(!b.session.authenticated);
    }

    #[test]
    fn hello_changes_nothing_unless_all_of_it_is_right() {
        let mut b = Bench::new();
        for (command, error) in [
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO x", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 AUTH a", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 foo", "ERR Syntax error in HELLO option 'foo'"),
        ] {
            assert_eq!(b.say(command), format!("-{error}\r\n"));
        }
        assert_eq!(b.session.protocol, crate::resp::Protocol::Resp2);
        assert!(b.say("HELLO").starts_with("*14\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n"));
        b.config.availability_zone = "z1".into();
        assert!(b.say("HELLO 3").ends_with("$17\r\navailability_zone\r\n$2\r\nz1\r\n"));
    }

    #[test]
    fn select_knows_how_many_databases_there_are() {
        let mut b = Bench::new();
        assert_eq!(b.say("SELECT 15"), "+OK\r\n");
        assert_eq!(b.session.db, 15);
        assert_eq!(b.say("SELECT 16"), "-ERR DB index is out of range\r\n");
        assert_eq!(b.say("SELECT x"), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(
            b.say("SELECT 2147483648"),
            "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"
        );
        assert_eq!(b.session.db, 15);
    }
}
