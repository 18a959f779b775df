//! COMMAND and its subcommands: the command table, as clients and proxies read it.
//!
//! Only what is built is shown. Maps and sets are RESP3's; the writer turns them into arrays for RESP2.

use super::keys::{KeyList, keys_of};
use super::spec::*;
use super::table::{Command, Table, table};
use super::{CommandError, Context};
use crate::glob;
use crate::resp::Reply;

/// COMMAND
pub fn command(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    all_infos(table(), ctx.reply);
    Ok(())
}

/// COMMAND COUNT
pub fn count(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    ctx.reply.integer(table().iter().count() as i64);
    Ok(())
}

/// COMMAND INFO [command ...]
pub fn info(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let names = &ctx.args[2..];
    if names.is_empty() {
        all_infos(table(), ctx.reply);
        return Ok(());
    }
    ctx.reply.array(names.len());
    for name in names {
        match table().lookup_full_name(name) {
            Some(command) => write_info(command, ctx.reply),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// COMMAND DOCS [command ...]; unknown names are left out.
pub fn docs(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let names = &ctx.args[2..];
    let wanted: Vec<&Command> = if names.is_empty() {
        table().iter().collect()
    } else {
        names.iter().filter_map(|name| table().lookup_full_name(name)).collect()
    };
    ctx.reply.map(wanted.len());
    for command in wanted {
        ctx.reply.bulk(command.name.as_bytes());
        write_docs(command, ctx.reply);
    }
    Ok(())
}

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
pub fn list(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let filter = match ctx.args[2..] {
        [] => Filter::All,
        [filterby, kind, value] if filterby.eq_ignore_ascii_case(b"filterby") => {
            if kind.eq_ignore_ascii_case(b"module") {
                Filter::Nothing // no modules, no commands of modules
            } else if kind.eq_ignore_ascii_case(b"aclcat") {
                Categories::by_name(value).map_or(Filter::Nothing, Filter::Category)
            } else if kind.eq_ignore_ascii_case(b"pattern") {
                Filter::Pattern(value)
            } else {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let with_subcommands =
        table().iter().flat_map(|command| std::iter::once(command).chain(command.built_subcommands()));
    let names: Vec<&str> =
        with_subcommands.filter(|command| filter.accepts(command)).map(|command| command.name).collect();
    ctx.reply.array(names.len());
    for name in names {
        ctx.reply.bulk(name.as_bytes());
    }
    Ok(())
}

/// COMMAND GETKEYS command [arg ...]
pub fn getkeys(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let request = &ctx.args[2..];
    let keys = keys_in_request(request)?;
    ctx.reply.array(keys.len());
    for key in keys {
        ctx.reply.bulk(request[key.position as usize]);
    }
    Ok(())
}

/// COMMAND GETKEYSANDFLAGS command [arg ...]
pub fn getkeysandflags(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let request = &ctx.args[2..];
    let keys = keys_in_request(request)?;
    ctx.reply.array(keys.len());
    for key in keys {
        ctx.reply.array(2);
        ctx.reply.bulk(request[key.position as usize]);
        write_names(key.flags.names(), ctx.reply);
    }
    Ok(())
}

enum Filter<'a> {
    All,
    Nothing,
    Category(Categories),
    Pattern(&'a [u8]),
}

impl Filter<'_> {
    fn accepts(&self, command: &Command) -> bool {
        match self {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Category(category) => command.categories.contains(*category),
            Filter::Pattern(pattern) => glob::matches_ignore_case(pattern, command.name.as_bytes()),
        }
    }
}

fn keys_in_request(request: &[&[u8]]) -> Result<KeyList, CommandError> {
    let command =
        table().lookup_request(request).map_err(|_| CommandError::fixed("ERR Invalid command specified"))?;
    if command.keys.iter().all(|spec| spec.flags.has(NOT_KEY)) {
        return Err(CommandError::fixed("ERR The command has no key arguments"));
    }
    if !command.accepts(request.len()) {
        return Err(CommandError::fixed("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = KeyList::new();
    match keys_of(command, request, &mut keys) {
        Ok(()) => Ok(keys),
        Err(_) if command.flags.has(NO_MANDATORY_KEYS) => Ok(KeyList::new()),
        Err(_) => Err(CommandError::fixed("ERR Invalid arguments specified for command")),
    }
}

fn all_infos(table: &Table, reply: &mut Reply) {
    reply.array(table.iter().count());
    for command in table.iter() {
        write_info(command, reply);
    }
}

fn write_info(command: &Command, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(command.arity.into());
    write_names(command.flags.names(), reply);
    let (first, last, step) = command.key_range;
    for position in [first, last, step] {
        reply.integer(position.into());
    }
    reply.set(command.categories.names().count());
    for category in command.categories.names() {
        reply.simple(&format!("@{category}"));
    }
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(command.keys.len());
    for spec in command.keys {
        write_key_spec(spec, reply);
    }
    let subcommands = command.built_subcommands();
    reply.array(subcommands.len());
    for subcommand in subcommands {
        write_info(subcommand, reply);
    }
}

/// A set of simple strings.
fn write_names(names: impl Iterator<Item = &'static str>, reply: &mut Reply) {
    let names: smallvec::SmallVec<[&str; 16]> = names.collect();
    reply.set(names.len());
    for name in names {
        reply.simple(name);
    }
}

fn write_key_spec(spec: &KeySpec, reply: &mut Reply) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        write_text("notes", spec.notes, reply);
    }
    reply.bulk(b"flags");
    write_names(spec.flags.names(), reply);
    match spec.begin {
        BeginSearch::Index(index) => step("begin_search", "index", &[("index", index)], reply),
        BeginSearch::Keyword { keyword, start_from } => {
            step_head("begin_search", "keyword", 2, reply);
            write_text("keyword", keyword, reply);
            write_integer("startfrom", start_from, reply);
        }
        BeginSearch::Unknown => step("begin_search", "unknown", &[], reply),
    }
    match spec.find {
        FindKeys::Range { last, step: keystep, limit } => {
            step("find_keys", "range", &[("lastkey", last), ("keystep", keystep), ("limit", limit)], reply)
        }
        FindKeys::KeyNum { index, first, step: keystep } => step(
            "find_keys",
            "keynum",
            &[("keynumidx", index), ("firstkey", first), ("keystep", keystep)],
            reply,
        ),
        FindKeys::Unknown => step("find_keys", "unknown", &[], reply),
    }
}

/// One of the two steps of a key spec: its kind and its numbers.
fn step(name: &str, kind: &str, numbers: &[(&str, i16)], reply: &mut Reply) {
    step_head(name, kind, numbers.len(), reply);
    for (name, number) in numbers {
        write_integer(name, *number, reply);
    }
}

fn step_head(name: &str, kind: &str, fields: usize, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.map(2);
    write_text("type", kind, reply);
    reply.bulk(b"spec");
    reply.map(fields);
}

fn write_text(name: &str, text: &str, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

fn write_integer(name: &str, number: i16, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.integer(number.into());
}

fn write_docs(command: &Command, reply: &mut Reply) {
    let docs = &command.docs;
    let subcommands = command.built_subcommands();
    let before = [
        ("summary", docs.summary),
        ("since", docs.since),
        ("group", docs.group.name()),
        ("complexity", docs.complexity),
    ];
    let after = [("deprecated_since", docs.deprecated_since), ("replaced_by", docs.replaced_by)];
    let texts = before.iter().chain(&after).filter(|(_, text)| !text.is_empty()).count();
    let lists = [
        docs.deprecated || docs.system,
        !docs.history.is_empty(),
        !docs.arguments.is_empty(),
        subcommands.len() > 0,
    ];
    reply.map(texts + lists.iter().filter(|present| **present).count());

    for (name, text) in before {
        write_present(name, text, reply);
    }
    if docs.deprecated || docs.system {
        let flags = [(docs.deprecated, "deprecated"), (docs.system, "syscmd")];
        reply.bulk(b"doc_flags");
        write_names(flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name), reply);
    }
    for (name, text) in after {
        write_present(name, text, reply);
    }
    if !docs.history.is_empty() {
        reply.bulk(b"history");
        reply.set(docs.history.len());
        for (version, change) in docs.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !docs.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(docs.arguments, reply);
    }
    if subcommands.len() > 0 {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for subcommand in subcommands {
            reply.bulk(subcommand.name.as_bytes());
            write_docs(subcommand, reply);
        }
    }
}

fn write_present(name: &str, text: &str, reply: &mut Reply) {
    if !text.is_empty() {
        write_text(name, text, reply);
    }
}

fn write_arguments(arguments: &[Argument], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(argument, reply);
    }
}

fn write_argument(argument: &Argument, reply: &mut Reply) {
    let display = match (argument.kind.has_display_text(), argument.display) {
        (false, _) => "",
        (true, "") => argument.name,
        (true, display) => display,
    };
    let has_token = argument.kind == ArgumentKind::PureToken || !argument.token.is_empty();
    let later = [
        ("summary", argument.summary),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    ];
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    let has_flags = flags.iter().any(|(set, _)| *set);
    let optional_fields = [
        !display.is_empty(),
        argument.key_spec.is_some(),
        has_token,
        has_flags,
        !argument.arguments.is_empty(),
    ];
    reply.map(
        2 + optional_fields.iter().filter(|present| **present).count()
            + later.iter().filter(|(_, text)| !text.is_empty()).count(),
    );

    write_text("name", argument.name, reply);
    write_text("type", argument.kind.name(), reply);
    write_present("display_text", display, reply);
    if let Some(index) = argument.key_spec {
        write_integer("key_spec_index", index.into(), reply);
    }
    if has_token {
        write_text("token", argument.token, reply);
    }
    for (name, text) in later {
        write_present(name, text, reply);
    }
    if has_flags {
        reply.bulk(b"flags");
        write_names(flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name), reply);
    }
    if !argument.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(argument.arguments, reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::commands;
    use crate::resp::Protocol;

    fn row(name: &str) -> &'static Command {
        commands().iter().find(|command| command.name == name).unwrap_or_else(|| panic!("no row {name}"))
    }

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply)) -> String {
        let mut reply = Reply::new(protocol);
        write(&mut reply);
        String::from_utf8(reply.into_bytes()).expect("ASCII")
    }

    /// Recorded from Valkey 9.1.2, here with line ends as blanks.
    #[test]
    fn command_info_has_the_bytes_of_valkey_in_both_protocols() {
        let resp2 = "*10 $5 xread :-4 *3 +readonly +blocking +movablekeys :0 :0 :0 *4 +@read +@stream +@slow \
                     +@blocking *0 *1 *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $7 keyword $4 spec *4 \
                     $7 keyword $7 STREAMS $9 startfrom :1 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey \
                     :-1 $7 keystep :1 $5 limit :2 *0 ";
        let bytes = written(Protocol::Resp2, |reply| write_info(row("xread"), reply));
        assert_eq!(bytes.replace("\r\n", " "), resp2);
        let resp3 = "*10 $8 spublish :3 ~4 +pubsub +loading +stale +fast :1 :1 :1 ~2 +@pubsub +@fast ~0 ~1 %3 \
                     $5 flags ~1 +not_key $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys \
                     %2 $4 type $5 range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 ";
        let bytes = written(Protocol::Resp3, |reply| write_info(row("spublish"), reply));
        assert_eq!(bytes.replace("\r\n", " "), resp3);
    }

    /// As above; the prose, which is ours, is cut out.
    #[test]
    fn command_docs_have_the_bytes_of_valkey_around_the_prose() {
        let docs = &row("cluster|slaves").docs;
        let (summary, complexity) = (docs.summary, docs.complexity);
        let resp3 = format!(
            "%8 $7 summary ${} {summary} $5 since $5 3.0.0 $5 group $7 cluster $10 complexity ${} {complexity} \
             $9 doc_flags ~1 +deprecated $16 deprecated_since $5 5.0.0 $11 replaced_by $18 `CLUSTER REPLICAS` \
             $9 arguments *1 %3 $4 name $7 node-id $4 type $6 string $12 display_text $7 node-id ",
            summary.len(),
            complexity.len()
        );
        let bytes = written(Protocol::Resp3, |reply| write_docs(row("cluster|slaves"), reply));
        assert_eq!(bytes.replace("\r\n", " "), resp3);

        let set = row("set").docs.arguments;
        let condition = set.iter().find(|argument| argument.name == "condition").expect("SET has one");
        let bytes = written(Protocol::Resp2, |reply| write_argument(condition, reply));
        let start = "*8 $4 name $9 condition $4 type $5 oneof $5 flags *1 +optional $9 arguments *3 \
                     *10 $4 name $2 nx $4 type $10 pure-token $12 display_text $2 nx $5 token $2 NX $5 since $6 2.6.12 ";
        assert!(bytes.replace("\r\n", " ").starts_with(start), "{bytes}");
    }
}
