//! CLIENT and its subcommands.

use crate::commands::client;
use crate::commands::spec::*;
use crate::commands::{Handler, help};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[command("client", -2, Group::Connection, "2.4.0")
    .summary("Groups the commands about connections.")
    .complexity("Depends on subcommand.")
    .subcommands(&CLIENT_SUBCOMMANDS)
    .handler(Handler::Container)];

static CLIENT_SUBCOMMANDS: [CommandSpec; 21] = [
    command("client|caching", 3, Group::Connection, "6.0.0")
        .summary("Says whether the keys of the next command are to be tracked.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .arguments(&[one_of("mode", &[keyword("yes", "YES"), keyword("no", "NO")])])
        .handler(Handler::Engine(client::caching)),
    command("client|capa", -3, Group::Connection, "8.0.0")
        .summary("States what the client can deal with.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .arguments(&[string("capability").multiple()])
        .handler(Handler::Engine(client::capa)),
    command("client|getname", 2, Group::Connection, "2.6.9")
        .summary("Tells the name of this connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(client::getname)),
    command("client|getredir", 2, Group::Connection, "6.0.0")
        .summary("Tells where invalidation messages of this connection go.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(client::getredir)),
    command("client|help", 2, Group::Connection, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(help::command)),
    command("client|id", 2, Group::Connection, "5.0.0")
        .summary("Tells the ID of this connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(client::id)),
    command("client|import-source", 3, Group::Connection, "8.1.0")
        .summary("Marks this connection as one that imports data.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .arguments(&[one_of("enabled", &[keyword("on", "ON"), keyword("off", "OFF")])])
        .handler(Handler::Engine(client::import_source)),
    command("client|info", 2, Group::Connection, "6.2.0")
        .summary("Describes this connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("client|kill", -3, Group::Connection, "2.4.0")
        .summary("Closes connections.")
        .complexity("O(N), N being the number of connections")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .history(&[
            ("2.8.12", "Filters."),
            ("2.8.12", "`ID`."),
            ("3.2.0", "`TYPE` knows `master`."),
            ("5.0.0", "`TYPE` calls a `slave` `replica`; the old word still works."),
            ("6.2.0", "`LADDR`."),
            ("8.0.0", "`MAXAGE`."),
            ("8.0.0", "`TYPE` calls a `master` `primary`; the old word still works."),
            ("8.1.0", "`ID` takes several IDs."),
            (
                "9.0.0",
                "Filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA and IP, and the negative \
             filters with NOT-.",
            ),
        ])
        .arguments(&[one_of(
            "filter",
            &[
                string("old-format").display("ip:port").deprecated_since("2.8.12"),
                one_of(
                    "new-format",
                    &[
                        integer("client-id").token("ID").since("2.8.12").optional().multiple(),
                        one_of(
                            "client-type",
                            &[
                                keyword("normal", "NORMAL"),
                                keyword("master", "MASTER").since("3.2.0"),
                                keyword("primary", "PRIMARY").since("8.0.0"),
                                keyword("slave", "SLAVE"),
                                keyword("replica", "REPLICA").since("5.0.0"),
                                keyword("pubsub", "PUBSUB"),
                            ],
                        )
                        .token("TYPE")
                        .since("2.8.12")
                        .optional(),
                        string("username").token("USER").optional(),
                        string("addr").token("ADDR").display("ip:port").optional(),
                        string("laddr").token("LADDR").display("ip:port").since("6.2.0").optional(),
                        one_of("skipme", &[keyword("yes", "YES"), keyword("no", "NO")])
                            .token("SKIPME")
                            .optional(),
                        integer("maxage").token("MAXAGE").since("8.0.0").optional(),
                        string("name").token("NAME").since("9.0.0").optional(),
                        integer("idle").token("IDLE").since("9.0.0").optional(),
                        string("flags").token("FLAGS").since("9.0.0").optional(),
                        string("lib-name").token("LIB-NAME").since("9.0.0").optional(),
                        string("lib-ver").token("LIB-VER").since("9.0.0").optional(),
                        integer("db").token("DB").since("9.0.0").optional(),
                        string("capa").token("CAPA").since("9.0.0").optional(),
                        string("ip").token("IP").since("9.0.0").optional(),
                        one_of(
                            "not-client-type",
                            &[
                                keyword("normal", "NORMAL"),
                                keyword("master", "MASTER"),
                                keyword("primary", "PRIMARY"),
                                keyword("slave", "SLAVE"),
                                keyword("replica", "REPLICA"),
                                keyword("pubsub", "PUBSUB"),
                            ],
                        )
                        .token("NOT-TYPE")
                        .since("9.0.0")
                        .optional(),
                        integer("not-client-id").token("NOT-ID").since("9.0.0").optional().multiple(),
                        string("not-username").token("NOT-USER").since("9.0.0").optional(),
                        string("not-addr").token("NOT-ADDR").display("ip:port").since("9.0.0").optional(),
                        string("not-laddr").token("NOT-LADDR").display("ip:port").since("9.0.0").optional(),
                        string("not-name").token("NOT-NAME").since("9.0.0").optional(),
                        string("not-flags").token("NOT-FLAGS").since("9.0.0").optional(),
                        string("not-lib-name").token("NOT-LIB-NAME").since("9.0.0").optional(),
                        string("not-lib-ver").token("NOT-LIB-VER").since("9.0.0").optional(),
                        integer("not-db").token("NOT-DB").since("9.0.0").optional(),
                        string("not-capa").token("NOT-CAPA").since("9.0.0").optional(),
                        string("not-ip").token("NOT-IP").since("9.0.0").optional(),
                    ],
                )
                .multiple(),
            ],
        )])
        .handler(Handler::Server),
    command("client|list", -2, Group::Connection, "2.4.0")
        .summary("Lists connections.")
        .complexity("O(N), N being the number of connections")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output"])
        .history(&[
            ("2.8.12", "Field `id`."),
            ("5.0.0", "`TYPE` filter."),
            ("6.0.0", "Field `user`."),
            ("6.2.0", "Fields `argv-mem`, `tot-mem`, `laddr` and `redir`; `ID` filter."),
            ("7.0.0", "Fields `resp`, `multi-mem`, `rbs` and `rbp`."),
            ("7.0.3", "Field `ssub`."),
            ("8.0.0", "`TYPE` calls a `master` `primary`; the old word still works."),
            ("8.1.0", "Filters USER, ADDR, LADDR, SKIPME and MAXAGE."),
            (
                "9.0.0",
                "Filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA and IP, and the negative \
             filters with NOT-.",
            ),
        ])
        .arguments(&[
            one_of(
                "client-type",
                &[
                    keyword("normal", "NORMAL"),
                    keyword("master", "MASTER"),
                    keyword("replica", "REPLICA"),
                    keyword("pubsub", "PUBSUB"),
                ],
            )
            .token("TYPE")
            .since("5.0.0")
            .optional(),
            integer("client-id").token("ID").since("6.2.0").optional().multiple(),
            string("username").token("USER").since("8.1.0").optional(),
            string("addr").token("ADDR").display("ip:port").since("8.1.0").optional(),
            string("laddr").token("LADDR").display("ip:port").since("8.1.0").optional(),
            one_of("skipme", &[keyword("yes", "YES"), keyword("no", "NO")])
                .token("SKIPME")
                .since("8.1.0")
                .optional(),
            integer("maxage").token("MAXAGE").since("8.1.0").optional(),
            string("name").token("NAME").since("9.0.0").optional(),
            integer("idle").token("IDLE").since("9.0.0").optional(),
            string("flags").token("FLAGS").since("9.0.0").optional(),
            string("lib-name").token("LIB-NAME").since("9.0.0").optional(),
            string("lib-ver").token("LIB-VER").since("9.0.0").optional(),
            integer("db").token("DB").since("9.0.0").optional(),
            string("capa").token("CAPA").since("9.0.0").optional(),
            string("ip").token("IP").since("9.0.0").optional(),
            one_of(
                "not-client-type",
                &[
                    keyword("normal", "NORMAL"),
                    keyword("master", "MASTER"),
                    keyword("replica", "REPLICA"),
                    keyword("pubsub", "PUBSUB"),
                ],
            )
            .token("NOT-TYPE")
            .since("9.0.0")
            .optional(),
            integer("not-client-id").token("NOT-ID").since("9.0.0").optional().multiple(),
            string("not-username").token("NOT-USER").since("9.0.0").optional(),
            string("not-addr").token("NOT-ADDR").display("ip:port").since("9.0.0").optional(),
            string("not-laddr").token("NOT-LADDR").display("ip:port").since("9.0.0").optional(),
            string("not-name").token("NOT-NAME").since("9.0.0").optional(),
            string("not-flags").token("NOT-FLAGS").since("9.0.0").optional(),
            string("not-lib-name").token("NOT-LIB-NAME").since("9.0.0").optional(),
            string("not-lib-ver").token("NOT-LIB-VER").since("9.0.0").optional(),
            integer("not-db").token("NOT-DB").since("9.0.0").optional(),
            string("not-capa").token("NOT-CAPA").since("9.0.0").optional(),
            string("not-ip").token("NOT-IP").since("9.0.0").optional(),
        ])
        .handler(Handler::Server),
    command("client|no-evict", 3, Group::Connection, "7.0.0")
        .summary("Exempts this connection from client eviction.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .arguments(&[one_of("enabled", &[keyword("on", "ON"), keyword("off", "OFF")])])
        .handler(Handler::Engine(client::no_evict)),
    command("client|no-touch", 3, Group::Connection, "7.2.0")
        .summary("Says whether commands of this connection count as use of the keys.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .arguments(&[one_of("enabled", &[keyword("on", "ON"), keyword("off", "OFF")])])
        .handler(Handler::Engine(client::no_touch)),
    command("client|pause", -3, Group::Connection, "3.0.0")
        .summary("Suspends the commands of clients for a while.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .history(&[("6.2.0", "`WRITE` mode and the `mode` option.")])
        .arguments(&[
            integer("timeout"),
            one_of("mode", &[keyword("write", "WRITE"), keyword("all", "ALL")]).since("6.2.0").optional(),
        ])
        .handler(Handler::Server),
    command("client|reply", 3, Group::Connection, "3.2.0")
        .summary("Says whether this connection gets replies.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .arguments(&[one_of(
            "action",
            &[keyword("on", "ON"), keyword("off", "OFF"), keyword("skip", "SKIP")],
        )])
        .handler(Handler::Engine(client::reply)),
    command("client|setinfo", 4, Group::Connection, "7.2.0")
        .summary("Sets facts about the client's library.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[one_of(
            "attr",
            &[string("libname").token("LIB-NAME"), string("libver").token("LIB-VER")],
        )])
        .handler(Handler::Engine(client::setinfo)),
    command("client|setname", 3, Group::Connection, "2.6.9")
        .summary("Names this connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[string("connection-name")])
        .handler(Handler::Engine(client::setname)),
    command("client|tracking", -3, Group::Connection, "6.0.0")
        .summary("Turns tracking for client-side caches on or off.")
        .complexity("O(1); some options cost more")
        .flags(NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .arguments(&[
            one_of("status", &[keyword("on", "ON"), keyword("off", "OFF")]),
            integer("client-id").token("REDIRECT").optional(),
            string("prefix").token("PREFIX").optional().multiple().multiple_token(),
            keyword("bcast", "BCAST").optional(),
            keyword("optin", "OPTIN").optional(),
            keyword("optout", "OPTOUT").optional(),
            keyword("noloop", "NOLOOP").optional(),
        ])
        .handler(Handler::Server),
    command("client|trackinginfo", 2, Group::Connection, "6.2.0")
        .summary("Describes the tracking of this connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .handler(Handler::Server),
    command("client|trace", 3, Group::Connection, "9.1.0")
        .summary("Records what the client's own requests cause, for ACTOR TRACE GET.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .arguments(&[one_of("enabled", &[keyword("on", "ON"), keyword("off", "OFF")])])
        .handler(Handler::Server),
    command("client|unblock", -3, Group::Connection, "5.0.0")
        .summary("Wakes up a client that waits in a blocking command.")
        .complexity("O(log N), N being the number of connections")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .arguments(&[
            integer("client-id"),
            one_of("unblock-type", &[keyword("timeout", "TIMEOUT"), keyword("error", "ERROR")]).optional(),
        ])
        .handler(Handler::Server),
    command("client|unpause", 2, Group::Connection, "6.2.0")
        .summary("Ends CLIENT PAUSE.")
        .complexity("O(N), N being the number of paused clients")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .acl(Categories::CONNECTION)
        .handler(Handler::Server),
];
