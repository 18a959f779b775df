//! The HELP subcommand that every container has.
//!
//! The lines are a table; a line appears only if its subcommand is built. The rows of all HELP subcommands already
//! name [`command`]; a command without rows for its subcommands calls [`write()`].

mod debug_lines;
mod lines;

use super::table::{Command, commands};
use super::{CommandError, Context};
use crate::resp::Reply;

/// The HELP subcommand of any container: the row tells which.
pub fn command(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let container = ctx.spec.name.split_once('|').map_or(ctx.spec.name, |(container, _)| container);
    if container == "cluster" && !ctx.config.cluster_enabled {
        return Err(super::cluster::DISABLED);
    }
    write(ctx.arg(0), container, ctx.reply);
    Ok(())
}

/// Writes the reply of HELP. `called` is the command as the client wrote it (it may have been renamed), `container`
/// its own name in lower case.
pub fn write(called: &[u8], container: &str, reply: &mut Reply) {
    let called = called.to_ascii_uppercase();
    let lines = lines_of(&String::from_utf8_lossy(&called), container);
    reply.array(lines.len());
    for line in lines {
        reply.simple(&line);
    }
}

/// The lines of a container's HELP. `shown_name` is how the client calls it, which may differ after a rename.
fn lines_of(shown_name: &str, container: &str) -> Vec<String> {
    let row = commands().iter().find(|command| command.name == container);
    let mut lines = vec![format!("{shown_name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for (syntax, explanation) in lines::of(container).unwrap_or_default() {
        if row.is_some_and(|row| !has(row, syntax)) {
            continue;
        }
        lines.extend(syntax.split('\n').map(str::to_owned));
        lines.extend(explanation.split('\n').map(|line| format!("    {line}")));
    }
    lines.push("HELP".to_owned());
    lines.push("    Print this help.".to_owned());
    lines
}

/// Whether the subcommand that the syntax begins with is built. Commands that split their arguments on their own
/// have no rows to look at.
fn has(container: &Command, syntax: &str) -> bool {
    let word = syntax.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    !container.is_container()
        || word.starts_with('(')
        || container.built_subcommands().any(|subcommand| subcommand.short_name() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_has_help_and_every_line_names_a_subcommand_or_an_option() {
        for container in commands().iter().filter(|command| command.is_container()) {
            let table = lines::of(container.name).unwrap_or_else(|| panic!("no help for {}", container.name));
            for (syntax, explanation) in table {
                let word = syntax.split(' ').next().expect("a word").to_ascii_lowercase();
                let known = container.subcommands.iter().any(|subcommand| subcommand.short_name() == word);
                assert!(known || word == "(no", "{} {syntax}", container.name);
                assert!(
                    !explanation.is_empty() && !explanation.contains('\r'),
                    "{} {syntax}",
                    container.name
                );
            }
        }
    }

    #[test]
    fn help_is_framed_like_that_of_valkey() {
        let lines = lines_of("KOMMANDO", "command");
        assert_eq!(lines[0], "KOMMANDO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        assert!(lines.ends_with(&["HELP".to_owned(), "    Print this help.".to_owned()]));
        assert!(lines.iter().any(|line| line == "GETKEYS <full-command>"), "{lines:?}");
        let clients = lines_of("CLIENT", "client");
        let built = commands().iter().any(|command| command.name == "client|kill" && command.is_built());
        assert_eq!(clients.iter().any(|line| line.starts_with("KILL")), built);
    }
}
