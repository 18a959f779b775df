//! Commands about the connection.

use crate::commands::Handler;
use crate::commands::connection;
use crate::commands::spec::*;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("auth", -2, Group::Connection, "1.0.0")
        .summary("Logs the connection in.")
        .complexity("O(N), N being the number of the user's passwords")
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .history(&[("6.0.0", "Takes a user name.")])
        .arguments(&[string("username").since("6.0.0").optional(), string("password")])
        .handler(Handler::Engine(connection::auth)),
    command("echo", 2, Group::Connection, "1.0.0")
        .summary("Returns its argument.")
        .complexity("O(1)")
        .flags(LOADING | STALE | FAST)
        .acl(Categories::CONNECTION)
        .arguments(&[string("message")])
        .handler(Handler::Engine(connection::echo)),
    command("hello", -1, Group::Connection, "6.0.0")
        .summary("Negotiates the protocol version, and may log in and name the connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .history(&[
            ("8.1.0", "The reply tells the `availability_zone` if one is configured."),
            ("6.2.0", "`protover` may be left out."),
        ])
        .arguments(&[block(
            "arguments",
            &[
                integer("protover"),
                block("auth", &[string("username"), string("password")]).token("AUTH").optional(),
                string("clientname").token("SETNAME").optional(),
            ],
        )
        .optional()])
        .handler(Handler::Engine(connection::hello)),
    command("ping", -1, Group::Connection, "1.0.0")
        .summary("Answers, to show that the server is alive.")
        .complexity("O(1)")
        .flags(FAST)
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[string("message").optional()])
        .handler(Handler::Engine(connection::ping)),
    command("quit", -1, Group::Connection, "1.0.0")
        .summary("Closes the connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(connection::quit)),
    command("reset", 1, Group::Connection, "6.2.0")
        .summary("Brings the connection back to its initial state.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(connection::reset)),
    command("select", 2, Group::Connection, "1.0.0")
        .summary("Changes the database of this connection.")
        .complexity("O(1)")
        .flags(LOADING | STALE | FAST | ALLOW_BUSY)
        .acl(Categories::CONNECTION)
        .arguments(&[integer("index")])
        .handler(Handler::Engine(connection::select)),
];
