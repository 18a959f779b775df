//! COMMANDLOG and SLOWLOG.

use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;

use super::{Outcome, Request};
use crate::command_log::Kind;

/// Runs the subcommand.
pub fn run(request: &mut Request) -> Outcome {
    match request.command.spec.name {
        "commandlog|get" => {
            let count = count(&request.args[2])?;
            let kind = kind(&request.args[3])?;
            get(request, kind, count)
        }
        "commandlog|len" => {
            let kind = kind(&request.args[2])?;
            len(request, kind)
        }
        "commandlog|reset" => {
            let kind = kind(&request.args[2])?;
            reset(request, kind)
        }
        "slowlog|get" => {
            // What SLOWLOG GET shows when it is not told how much.
            const DEFAULT: usize = 10;
            let count = match request.args.len() {
                2 => DEFAULT,
                3 => count(&request.args[2])?,
                _ => {
                    let line = b"ERR unknown subcommand or wrong number of arguments for '";
                    let word = request.args[1].as_slice();
                    return Err(CommandError::Bytes([line, word, b"'. Try SLOWLOG HELP."].concat()));
                }
            };
            get(request, Kind::Slow, count)
        }
        "slowlog|len" => len(request, Kind::Slow),
        "slowlog|reset" => reset(request, Kind::Slow),
        name => Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
}

fn kind(word: &[u8]) -> Result<Kind, CommandError> {
    Kind::from_word(word).ok_or(CommandError::fixed(
        "ERR type should be one of the following: slow, large-request, large-reply",
    ))
}

/// How many entries; -1 is all.
fn count(word: &[u8]) -> Result<usize, CommandError> {
    match parse_integer(word) {
        Some(-1) => Ok(usize::MAX),
        Some(n) if n >= 0 => Ok(n as usize),
        _ => Err(CommandError::fixed("ERR count should be greater than or equal to -1")),
    }
}

fn get(request: &mut Request, kind: Kind, count: usize) -> Outcome {
    let entries = request.server.command_log.newest(kind, count);
    let reply = &mut request.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_s);
        reply.integer(entry.figure as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.peer.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

fn len(request: &mut Request, kind: Kind) -> Outcome {
    request.reply.integer(request.server.command_log.len(kind) as i64);
    Ok(())
}

fn reset(request: &mut Request, kind: Kind) -> Outcome {
    request.server.command_log.reset(kind);
    request.reply.ok();
    Ok(())
}
