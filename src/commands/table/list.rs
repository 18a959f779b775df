//! List commands.

use crate::commands::spec::*;
use crate::commands::{Handler, list};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("blmove", 6, Group::List, "6.2.0")
        .summary("Moves an element between lists, waiting for one if there is none.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | BLOCKING)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | ACCESS | DELETE, 1), index_key(RW | INSERT, 2)])
        .arguments(&[
            key("source", 0),
            key("destination", 1),
            one_of("wherefrom", &[keyword("left", "LEFT"), keyword("right", "RIGHT")]),
            one_of("whereto", &[keyword("left", "LEFT"), keyword("right", "RIGHT")]),
            double("timeout"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::blocking::blmove)),
    command("blmpop", -5, Group::List, "7.0.0")
        .summary("Takes elements from the first list that has any, waiting if none has.")
        .complexity("O(N+M), N being the number of keys and M the number of elements returned")
        .flags(WRITE | BLOCKING | MOVABLEKEYS)
        .acl(Categories::LIST)
        .keys(&[counted_keys(RW | ACCESS | DELETE, 2, 1)])
        .arguments(&[
            double("timeout"),
            integer("numkeys"),
            key("key", 0).multiple(),
            one_of("where", &[keyword("left", "LEFT"), keyword("right", "RIGHT")]),
            integer("count").token("COUNT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::blocking::blmpop)),
    command("blpop", -3, Group::List, "2.0.0")
        .summary("Takes the first element of the first list that has any, waiting if none has.")
        .complexity("O(N), N being the number of keys")
        .flags(WRITE | BLOCKING)
        .acl(Categories::LIST)
        .keys(&[index_range(RW | ACCESS | DELETE, 1, -2, 1)])
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .arguments(&[key("key", 0).multiple(), double("timeout")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::blocking::blpop)),
    command("brpop", -3, Group::List, "2.0.0")
        .summary("Takes the last element of the first list that has any, waiting if none has.")
        .complexity("O(N), N being the number of keys")
        .flags(WRITE | BLOCKING)
        .acl(Categories::LIST)
        .keys(&[index_range(RW | ACCESS | DELETE, 1, -2, 1)])
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .arguments(&[key("key", 0).multiple(), double("timeout")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::blocking::brpop)),
    command("brpoplpush", 4, Group::List, "2.2.0")
        .summary(
            "Moves the last element of a list to the head of another, waiting for one if \
             there is none.",
        )
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | BLOCKING)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | ACCESS | DELETE, 1), index_key(RW | INSERT, 2)])
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .arguments(&[key("source", 0), key("destination", 1), double("timeout")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::blocking::brpoplpush)),
    command("lindex", 3, Group::List, "1.0.0")
        .summary("Reads an element by its position.")
        .complexity("O(N), N being the distance to the element; O(1) at both ends")
        .flags(READONLY)
        .acl(Categories::LIST)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), integer("index")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::read::lindex)),
    command("linsert", 5, Group::List, "2.2.0")
        .summary("Inserts an element before or after another one.")
        .complexity("O(N), N being the distance to the pivot")
        .flags(WRITE | DENYOOM)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | INSERT, 1)])
        .arguments(&[
            key("key", 0),
            one_of("where", &[keyword("before", "BEFORE"), keyword("after", "AFTER")]),
            string("pivot"),
            string("element"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::edit::linsert)),
    command("llen", 2, Group::List, "1.0.0")
        .summary("Tells the length of a list.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::read::llen)),
    command("lmove", 5, Group::List, "6.2.0")
        .summary("Moves an element from one end of a list to an end of another.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | ACCESS | DELETE, 1), index_key(RW | INSERT, 2)])
        .arguments(&[
            key("source", 0),
            key("destination", 1),
            one_of("wherefrom", &[keyword("left", "LEFT"), keyword("right", "RIGHT")]),
            one_of("whereto", &[keyword("left", "LEFT"), keyword("right", "RIGHT")]),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::moving::lmove)),
    command("lmpop", -4, Group::List, "7.0.0")
        .summary("Takes elements from the first list that has any.")
        .complexity("O(N+M), N being the number of keys and M the number of elements returned")
        .flags(WRITE | MOVABLEKEYS)
        .acl(Categories::LIST)
        .keys(&[counted_keys(RW | ACCESS | DELETE, 1, 1)])
        .arguments(&[
            integer("numkeys"),
            key("key", 0).multiple(),
            one_of("where", &[keyword("left", "LEFT"), keyword("right", "RIGHT")]),
            integer("count").token("COUNT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::pop::lmpop)),
    command("lpop", -2, Group::List, "1.0.0")
        .summary("Takes elements from the head of a list.")
        .complexity("O(N), N being the number of elements returned")
        .flags(WRITE | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | ACCESS | DELETE, 1)])
        .history(&[("6.2.0", "`count`.")])
        .arguments(&[key("key", 0), integer("count").since("6.2.0").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::pop::lpop)),
    command("lpos", -3, Group::List, "6.0.6")
        .summary("Finds the positions of an element.")
        .complexity("O(N), N being the length of the list; less near an end or with MAXLEN")
        .flags(READONLY)
        .acl(Categories::LIST)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            string("element"),
            integer("rank").token("RANK").optional(),
            integer("num-matches").token("COUNT").optional(),
            integer("len").token("MAXLEN").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::read::lpos)),
    command("lpush", -3, Group::List, "1.0.0")
        .summary("Puts elements at the head of a list, creating the key if needed.")
        .complexity("O(1) for each element")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | INSERT, 1)])
        .history(&[("2.4.0", "Takes several elements.")])
        .arguments(&[key("key", 0), string("element").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::push::lpush)),
    command("lpushx", -3, Group::List, "2.2.0")
        .summary("Puts elements at the head of a list if it exists.")
        .complexity("O(1) for each element")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | INSERT, 1)])
        .history(&[("4.0.0", "Takes several elements.")])
        .arguments(&[key("key", 0), string("element").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::push::lpushx)),
    command("lrange", 4, Group::List, "1.0.0")
        .summary("Reads a range of elements.")
        .complexity("O(S+N), S being the distance to the start and N the number of elements returned")
        .flags(READONLY)
        .acl(Categories::LIST)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), integer("start"), integer("stop")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::read::lrange)),
    command("lrem", 4, Group::List, "1.0.0")
        .summary("Removes elements equal to a value.")
        .complexity("O(N+M), N being the length of the list and M the number of elements removed")
        .flags(WRITE)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | DELETE, 1)])
        .arguments(&[key("key", 0), integer("count"), string("element")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::edit::lrem)),
    command("lset", 4, Group::List, "1.0.0")
        .summary("Replaces an element by its position.")
        .complexity("O(N), N being the length of the list; O(1) at both ends")
        .flags(WRITE | DENYOOM)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("index"), string("element")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::edit::lset)),
    command("ltrim", 4, Group::List, "1.0.0")
        .summary("Keeps a range of elements and removes the rest.")
        .complexity("O(N), N being the number of elements removed")
        .flags(WRITE)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | DELETE, 1)])
        .arguments(&[key("key", 0), integer("start"), integer("stop")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::edit::ltrim)),
    command("rpop", -2, Group::List, "1.0.0")
        .summary("Takes elements from the tail of a list.")
        .complexity("O(N), N being the number of elements returned")
        .flags(WRITE | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | ACCESS | DELETE, 1)])
        .history(&[("6.2.0", "`count`.")])
        .arguments(&[key("key", 0), integer("count").since("6.2.0").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::pop::rpop)),
    command("rpoplpush", 3, Group::List, "1.2.0")
        .summary("Moves the last element of a list to the head of another.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | ACCESS | DELETE, 1), index_key(RW | INSERT, 2)])
        .arguments(&[key("source", 0), key("destination", 1)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::moving::rpoplpush)),
    command("rpush", -3, Group::List, "1.0.0")
        .summary("Puts elements at the tail of a list, creating the key if needed.")
        .complexity("O(1) for each element")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | INSERT, 1)])
        .history(&[("2.4.0", "Takes several elements.")])
        .arguments(&[key("key", 0), string("element").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::push::rpush)),
    command("rpushx", -3, Group::List, "2.2.0")
        .summary("Puts elements at the tail of a list if it exists.")
        .complexity("O(1) for each element")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::LIST)
        .keys(&[index_key(RW | INSERT, 1)])
        .history(&[("4.0.0", "Takes several elements.")])
        .arguments(&[key("key", 0), string("element").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(list::push::rpushx)),
];
