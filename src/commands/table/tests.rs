use super::*;
use crate::commands::keys::{KeyList, KeyRef, keys_of};

fn command(name: &str) -> &'static Command {
    commands().iter().find(|command| command.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn ids_are_dense_and_names_are_unique_lower_case_and_short() {
    assert_eq!(commands().len(), COMMAND_COUNT);
    let mut names = std::collections::HashSet::new();
    for (index, command) in commands().iter().enumerate() {
        assert_eq!(usize::from(command.id), index);
        assert_eq!(command.name, command.name.to_ascii_lowercase());
        assert!(PackedName::new(command.short_name().as_bytes()).is_some(), "{}", command.name);
        assert!(names.insert(command.name), "{} twice", command.name);
    }
}

#[test]
fn a_container_has_subcommands_named_after_it_and_nothing_else_has() {
    for command in commands().iter().filter(|command| command.parent.is_none()) {
        assert!(!command.name.contains('|'), "{}", command.name);
        if matches!(command.handler, Handler::Container) {
            assert!(command.is_container(), "{}", command.name);
            assert_eq!(command.arity, -2, "{}", command.name);
        }
        for sub in command.subcommands {
            assert_eq!(
                sub.name.split_once('|').map(|(parent, _)| parent),
                Some(command.name),
                "{}",
                sub.name
            );
            assert!(sub.subcommands.is_empty(), "{}", sub.name);
            assert!(sub.arity.abs() >= 2, "{}", sub.name);
        }
        if command.is_container() {
            assert!(command.subcommands.iter().any(|sub| sub.short_name() == "help"), "{}", command.name);
        }
    }
}

#[test]
fn plain_commands_do_nothing_but_read_or_change_their_first_argument() {
    let plain =
        ["get", "set", "incr", "append", "expire", "hset", "lpush", "sadd", "zadd", "xadd", "type", "dump"];
    for name in plain {
        assert!(command(name).is_plain(), "{name}");
    }
    // Several keys, keys that only the arguments tell, two databases, waiting, the session, other actors.
    let others = [
        "mget", "del", "sort", "move", "copy", "blpop", "xread", "eval", "select", "keys", "publish",
        "migrate",
    ];
    for name in others {
        assert!(!command(name).is_plain(), "{name}");
    }
    for command in commands().iter().filter(|command| command.is_plain()) {
        assert_eq!(command.keys.len(), 1, "{}", command.name);
        assert_eq!(command.scope, Scope::Keys, "{}", command.name);
    }
}

#[test]
fn rows_are_consistent_with_themselves() {
    for command in commands() {
        let name = command.name;
        assert_ne!(command.arity, 0, "{name}");
        assert!(!(command.flags.has(WRITE) && command.flags.has(READONLY)), "{name}");
        assert!(!command.docs.summary.is_empty() && !command.docs.since.is_empty(), "{name}");
        let has_keys = matches!(command.scope, Scope::Keys | Scope::SlotWalk);
        assert_eq!(!command.keys.is_empty(), has_keys, "{name}");
        assert_eq!(
            command.categories.contains(Categories::FAST),
            !command.categories.contains(Categories::SLOW),
            "{name}"
        );
        if command.flags.has(MOVABLEKEYS) {
            assert_eq!(command.shape, KeyShape::Other, "{name}");
        }
        // A key in the argument tree refers to a key spec that exists.
        let mut arguments: Vec<&Argument> = command.docs.arguments.iter().collect();
        while let Some(argument) = arguments.pop() {
            if let Some(index) = argument.key_spec {
                assert!(usize::from(index) < command.keys.len(), "{name} {}", argument.name);
            }
            arguments.extend(argument.arguments);
        }
    }
}

#[test]
fn the_shape_agrees_with_the_key_specs() {
    let mut list = KeyList::new();
    for command in commands() {
        let words = usize::from(command.arity.unsigned_abs()) + if command.arity < 0 { 2 } else { 0 };
        let args = vec![&b"1"[..]; words];
        let by_shape: Vec<u32> = match command.shape {
            KeyShape::Other => continue,
            KeyShape::None => Vec::new(),
            KeyShape::First => vec![1],
            KeyShape::Range { first, last, step } => {
                let last = if last < 0 { words as i16 + last } else { last };
                (first..=last).step_by(step as usize).map(|position| position as u32).collect()
            }
        };
        keys_of(command, &args, &mut list).unwrap_or_else(|_| panic!("{}", command.name));
        let by_specs: Vec<u32> = list.iter().map(|key| key.position).collect();
        assert_eq!(by_shape, by_specs, "{}", command.name);
    }
}

/// The expected keys were recorded from COMMAND GETKEYSANDFLAGS of Valkey 9.1.2. A `-` after the request marks that
/// the keys cannot be told; `''` is an empty word.
#[test]
fn keys_are_those_that_valkey_finds() {
    const READ: u16 = RO | ACCESS;
    const STORE: u16 = OW | UPDATE;
    const CHANGE: u16 = RW | ACCESS | UPDATE;
    const TAKE: u16 = RW | ACCESS | DELETE;
    type Expected = Option<&'static [(u32, u16)]>;
    let samples: &[(&str, Expected)] = &[
        ("get a", Some(&[(1, READ)])),
        ("set a b", Some(&[(1, STORE)])),
        ("set a b ex 10 GET", Some(&[(1, CHANGE)])),
        ("set get get", Some(&[(1, STORE)])),
        ("set a b ifeq x", Some(&[(1, STORE)])),
        ("bitfield a get u8 0", Some(&[(1, READ)])),
        ("bitfield a overflow wrap get u8 0", Some(&[(1, READ)])),
        ("bitfield a get u8 0 set u8 0 1", Some(&[(1, CHANGE)])),
        ("bitfield a get u8", Some(&[(1, CHANGE)])),
        ("georadius a 1 2 3 m", Some(&[(1, READ)])),
        ("georadius a 1 2 3 m store b storedist c", Some(&[(1, READ), (9, STORE)])),
        ("georadius a 1 2 3 m store", Some(&[(1, READ)])),
        ("georadiusbymember a m 3 m store b", Some(&[(1, READ), (6, STORE)])),
        ("sort a by x get y store b store c", Some(&[(1, READ), (9, STORE)])),
        ("sort a limit store 1 store d", Some(&[(1, READ), (6, STORE)])),
        ("sort a by store store x", Some(&[(1, READ), (5, STORE)])),
        ("sort a store", Some(&[(1, READ)])),
        ("sort_ro a by b", Some(&[(1, READ)])),
        ("migrate h 1 k 0 1", Some(&[(3, TAKE)])),
        ("migrate h 1 k 0 1 keys a b", None),
        ("migrate h 1 '' 0 1 keys a b", Some(&[(7, TAKE), (8, TAKE)])),
        ("migrate h 1 '' 0 1 auth keys keys a b", Some(&[(9, TAKE), (10, TAKE)])),
        ("migrate h 1 '' 0 1 auth2 keys keys keys a b", Some(&[(10, TAKE), (11, TAKE)])),
        ("migrate h 1 '' 0 1 keys", Some(&[(3, TAKE)])),
        ("zunionstore d 2 a b", Some(&[(1, STORE), (3, READ), (4, READ)])),
        ("zunionstore d 3 a b", None),
        ("zunionstore d 1x a b", Some(&[(3, 0), (1, 0)])),
        ("zunion 2 a b", Some(&[(2, READ), (3, READ)])),
        ("zunion -1 a b", None),
        ("eval s 1 a", Some(&[(3, CHANGE)])),
        ("eval s 0", None),
        ("eval s 2 a", None),
        ("eval s 4294967297 a", Some(&[(3, 0)])),
        ("eval_ro s 1 a b", Some(&[(3, READ)])),
        ("xread streams a b 0 0", Some(&[(2, READ), (3, READ)])),
        ("xread count streams streams a 0", Some(&[(3, READ)])),
        ("xread block 1 streams", None),
        ("xread a b c", None),
        ("xreadgroup group streams c streams a b", Some(&[(5, READ)])),
        ("lmpop 2 a b left", Some(&[(2, TAKE), (3, TAKE)])),
        ("lmpop 99999999999999999999 a left", None),
        ("blmpop 0 2 a b left", Some(&[(3, TAKE), (4, TAKE)])),
        ("msetex 2 a 1 b 2", Some(&[(2, STORE), (4, STORE)])),
        ("msetex 3 a 1 b 2", None),
        ("mset a 1 b", Some(&[(1, STORE), (3, STORE)])),
        ("rename a b", Some(&[(1, TAKE), (2, STORE)])),
        ("blpop a b 0", Some(&[(1, TAKE), (2, TAKE)])),
        ("pfmerge a", None),
        ("object|freq a", Some(&[(2, RO)])),
        ("spublish c m", Some(&[(1, NOT_KEY)])),
        ("ping", Some(&[])),
    ];
    let mut list = KeyList::new();
    for (request, expected) in samples {
        let mut words: Vec<&[u8]> =
            request.split(' ').map(|word| if word == "''" { &b""[..] } else { word.as_bytes() }).collect();
        let name = request.split(' ').next().expect("a name");
        if let Some((container, sub)) = name.split_once('|') {
            words.splice(..1, [container.as_bytes(), sub.as_bytes()]);
        }
        let found = keys_of(command(name), &words, &mut list).is_ok();
        match expected {
            None => assert!(!found, "{request}: {list:?}"),
            Some(keys) => {
                let keys: Vec<KeyRef> = keys
                    .iter()
                    .map(|&(position, flags)| KeyRef { position, flags: KeyFlags(flags) })
                    .collect();
                assert!(found, "{request}");
                assert_eq!(list.as_slice(), keys, "{request}");
            }
        }
    }
    // What could be told is kept for routing.
    assert!(keys_of(command("pfmerge"), &[b"pfmerge", b"a"], &mut list).is_err());
    assert_eq!(list[0].position, 1);
}

#[test]
fn every_short_request_is_searched_for_keys_without_a_panic() {
    let words: [&[u8]; 8] =
        [b"", b"0", b"1", b"-9223372036854775808", b"9223372036854775807", b"keys", b"streams", b"get"];
    let mut list = KeyList::new();
    for command in commands() {
        for length in 1..=5u32 {
            for choice in 0..words.len().pow(length - 1) {
                let mut rest = choice;
                let mut args: Vec<&[u8]> = vec![b"name"];
                for _ in 1..length {
                    args.push(words[rest % words.len()]);
                    rest /= words.len();
                }
                let _ = keys_of(command, &args, &mut list);
                assert!(
                    list.iter().all(|key| (key.position as usize) < args.len()),
                    "{} {args:?}",
                    command.name
                );
            }
            if length == 4 && command.shape != KeyShape::Other {
                break;
            }
        }
    }
}

/// A table of all rows, as if all were built.
fn full_table() -> Table {
    let mut table = Table { slots: vec![0; 1024].into(), entries: Vec::new(), long_names: Vec::new() };
    for command in commands() {
        let name = PackedName::new(command.short_name().as_bytes()).expect("short");
        table.insert(command.parent.map_or(0, |parent| parent + 1), name, command);
    }
    table
}

#[test]
fn every_row_is_found_in_any_case_by_its_name_and_only_in_its_container() {
    let table = full_table();
    for command in commands() {
        let upper = command.short_name().to_ascii_uppercase();
        let found = match command.parent {
            None => table.lookup(upper.as_bytes()),
            Some(parent) => {
                table.lookup_subcommand(Command::by_id(parent).expect("a container"), upper.as_bytes())
            }
        };
        assert!(found.is_some_and(|found| found.id == command.id), "{}", command.name);
        let full = table.lookup_full_name(command.name.as_bytes());
        assert!(full.is_some_and(|found| found.id == command.id), "{}", command.name);
    }
    for unknown in
        ["", "ge", "gett", "get\0", "client|list", "no-such-command-with-a-name-of-more-than-32-bytes"]
    {
        assert!(table.lookup(unknown.as_bytes()).is_none(), "{unknown:?}");
    }
    assert!(table.lookup(b"caching").is_none());
}

#[test]
fn rows_without_a_handler_are_unknown_to_clients() {
    for command in commands() {
        assert_eq!(
            table().lookup_full_name(command.name.as_bytes()).is_some(),
            command.is_built(),
            "{}",
            command.name
        );
    }
    assert!(matches!(table().resolve(&[b"nosuch", b"a"]), Err(Unresolved::Command)));
    assert!(matches!(table().resolve(&[]), Err(Unresolved::Command)));
}

#[test]
fn a_renamed_command_is_found_by_its_new_name_only_and_keeps_its_subcommands() {
    let long = b"a-name-that-is-longer-than-the-thirty-two-bytes-of-a-packed-name";
    for new in [&b"Cmd"[..], long] {
        let table = Table::with_renames(&[(b"COMMAND", new)]).expect("renamed");
        let found = table.lookup(&new.to_ascii_uppercase()).expect("under its new name");
        assert_eq!(found.name, "command");
        assert!(table.lookup(b"command").is_none());
        assert_eq!(table.lookup_request(&[new, b"count"]).map(|sub| sub.name), Ok("command|count"));
        assert_eq!(table.iter().filter(|command| command.name == "command").count(), 1);
    }
    assert!(original_table().lookup(b"command").is_some());
}

#[test]
fn renaming_to_nothing_removes_and_names_are_taken_only_once() {
    let removed = Table::with_renames(&[(b"command", b"")]).expect("removed");
    assert!(removed.lookup(b"command").is_none());
    let refusal = |renames: &[(&[u8], &[u8])]| Table::with_renames(renames).err();
    assert_eq!(refusal(&[(b"command", b"GET")]), Some(RenameError::NameTaken));
    assert_eq!(refusal(&[(b"command", b"x"), (b"get", b"X")]), Some(RenameError::NameTaken));
    assert_eq!(refusal(&[(b"command", b""), (b"command", b"x")]), Some(RenameError::NoSuchCommand));
    assert_eq!(refusal(&[(b"nosuch", b"x")]), Some(RenameError::NoSuchCommand));
    assert_eq!(refusal(&[(b"get", b"set2"), (b"set", b"get")]), None, "a freed name may be used");
}
