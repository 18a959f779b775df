//! ACL SETUSER, DELUSER, LOAD, SAVE, LOG, GENPASS.

use skuld::acl::rules::{has_spaces, set_user};
use skuld::acl::{DEFAULT_USER, Fresh};
use skuld::commands::context::CommandError;
use skuld::commands::refusals;
use skuld::resp::decode::parse_integer;

use super::{Outcome, Request};
use crate::access::{consequences, fresh, read_file, write_file};
use crate::batch::Batch;
use crate::clock;
use crate::start::random_hex;

/// Runs the subcommand.
pub fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    match request.command.spec.name {
        "acl|setuser" => set(request, batch),
        "acl|deluser" => delete(request, batch),
        "acl|genpass" => make_password(request),
        "acl|log" => log(request),
        _ if request.server.config.load().aclfile.is_empty() => Err(CommandError::fixed(
            "ERR This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
             command and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store \
             users in the configuration.",
        )),
        "acl|load" => load(request, batch),
        "acl|save" => save(request),
        name => Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
}

fn too_many(request: &Request) -> CommandError {
    let words: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
    CommandError::Bytes(refusals::wrong_subcommand_arity(&words))
}

fn error_of(text: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR ", text].concat())
}

fn set(request: &mut Request, batch: &mut Batch) -> Outcome {
    let name = request.args[2].as_slice();
    if has_spaces(name) {
        return Err(CommandError::fixed("ERR Usernames can't contain spaces or null characters"));
    }
    let rules: Vec<&[u8]> = request.args[3..].iter().map(Vec::as_slice).collect();
    let fresh: Fresh = fresh(&request.server.config.load());
    let (changed, before, after) = request.server.access.change(|acl| {
        let user = set_user(acl.get(name).map(|user| &**user), name, &rules, fresh)?;
        acl.insert(user);
        Ok::<(), Vec<u8>>(())
    });
    changed.map_err(|text| error_of(&text))?;
    if consequences(&request.server, &before, &after, batch.session.id) {
        batch.session.close_after_reply = true;
    }
    request.reply.ok();
    Ok(())
}

fn delete(request: &mut Request, batch: &mut Batch) -> Outcome {
    let names = &request.args[2..];
    if names.iter().any(|name| name == DEFAULT_USER) {
        return Err(CommandError::fixed("ERR The 'default' user cannot be removed"));
    }
    let (deleted, before, after) =
        request.server.access.change(|acl| names.iter().filter(|name| acl.remove(name)).count());
    if consequences(&request.server, &before, &after, batch.session.id) {
        batch.session.close_after_reply = true;
    }
    request.reply.integer(deleted as i64);
    Ok(())
}

fn load(request: &mut Request, batch: &mut Batch) -> Outcome {
    let config = request.server.config.load_full();
    let loaded = read_file(&config).map_err(|errors| error_of(&errors))?;
    let ((), before, after) = request.server.access.change(|acl| *acl = loaded);
    if consequences(&request.server, &before, &after, batch.session.id) {
        batch.session.close_after_reply = true;
    }
    request.reply.ok();
    Ok(())
}

fn save(request: &mut Request) -> Outcome {
    let config = request.server.config.load_full();
    match write_file(&config, &request.server.access.current()) {
        Ok(()) => {
            request.reply.ok();
            Ok(())
        }
        Err(line) => {
            tracing::warn!("{line}");
            Err(CommandError::fixed(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
            ))
        }
    }
}

fn make_password(request: &mut Request) -> Outcome {
    const BITS: i64 = 256;
    const BITS_MAX: i64 = 4096;
    let bits = match request.args.len() {
        2 => BITS,
        3 => parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?,
        _ => return Err(too_many(request)),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(CommandError::text(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {BITS_MAX}"
        )));
    }
    let digits = bits.unsigned_abs().div_ceil(4) as usize;
    let mut password = String::new();
    while password.len() < digits {
        // What the system gives comes whole up to 256 bytes at once.
        password += &random_hex(64);
    }
    request.reply.bulk(&password.as_bytes()[..digits]);
    Ok(())
}

fn log(request: &mut Request) -> Outcome {
    /// Entries shown if the request does not say how many.
    const DEFAULT: i64 = 10;
    let count = match request.args.len() {
        2 => DEFAULT,
        3 if request.is_word(2, "reset") => {
            request.server.access.log().reset();
            request.reply.ok();
            return Ok(());
        }
        3 => parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?,
        _ => return Err(too_many(request)),
    };
    let count = usize::try_from(count).unwrap_or(0);
    let server = request.server.clone();
    server.access.log().write(count, clock::unix_ms(), &mut request.reply);
    Ok(())
}
