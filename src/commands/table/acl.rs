//! ACL commands.

use crate::commands::spec::*;
use crate::commands::{Handler, acl, help};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[command("acl", -2, Group::Server, "6.0.0")
    .summary("Groups the commands of access control.")
    .complexity("Depends on subcommand.")
    .subcommands(&ACL_SUBCOMMANDS)
    .handler(Handler::Container)];

static ACL_SUBCOMMANDS: [CommandSpec; 13] = [
    command("acl|cat", -2, Group::Server, "6.0.0")
        .summary("Lists the categories, or the commands of one.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .arguments(&[string("category").optional()])
        .handler(Handler::Engine(acl::cat)),
    command("acl|deluser", -3, Group::Server, "6.0.0")
        .summary("Deletes users and closes their connections.")
        .complexity("O(1) for a typical user")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[string("username").multiple()])
        .handler(Handler::Server),
    command("acl|dryrun", -4, Group::Server, "7.0.0")
        .summary("Tells whether a user could run a command, without running it.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .arguments(&[string("username"), string("command"), string("arg").optional().multiple()])
        .handler(Handler::Engine(acl::dryrun)),
    command("acl|genpass", -2, Group::Server, "6.0.0")
        .summary("Makes up a random password.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .arguments(&[integer("bits").optional()])
        .handler(Handler::Server),
    command("acl|getuser", 3, Group::Server, "6.0.0")
        .summary("Describes a user.")
        .complexity("O(N), N being the number of the user's rules")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .history(&[
            ("6.2.0", "Shows channel patterns."),
            ("7.0.0", "Shows selectors, and patterns as rules."),
            ("9.1.0", "Shows rules on databases."),
        ])
        .arguments(&[string("username")])
        .handler(Handler::Engine(acl::getuser)),
    command("acl|help", 2, Group::Server, "6.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("acl|list", 2, Group::Server, "6.0.0")
        .summary("Lists the users as lines of an ACL file.")
        .complexity("O(N), N being the number of users")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Engine(acl::list)),
    command("acl|load", 2, Group::Server, "6.0.0")
        .summary("Reads the ACL file again.")
        .complexity("O(N), N being the number of users")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Server),
    command("acl|log", -2, Group::Server, "6.0.0")
        .summary("Lists refused commands and logins.")
        .complexity("O(N), N being the number of entries shown")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .history(&[("7.2.0", "Entries have an ID and the times of their first and last occurrence.")])
        .arguments(&[one_of("operation", &[integer("count"), keyword("reset", "RESET")]).optional()])
        .handler(Handler::Server),
    command("acl|save", 2, Group::Server, "6.0.0")
        .summary("Writes the users to the ACL file.")
        .complexity("O(N), N being the number of users")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .handler(Handler::Server),
    command("acl|setuser", -3, Group::Server, "6.0.0")
        .summary("Creates or changes a user.")
        .complexity("O(N), N being the number of rules given")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[
            ("6.2.0", "Rules on channels."),
            ("7.0.0", "Selectors and key permissions."),
            ("9.1.0", "Rules on databases."),
        ])
        .arguments(&[string("username"), string("rule").optional().multiple()])
        .handler(Handler::Server),
    command("acl|users", 2, Group::Server, "6.0.0")
        .summary("Lists the user names.")
        .complexity("O(N), N being the number of users")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Engine(acl::users)),
    command("acl|whoami", 2, Group::Server, "6.0.0")
        .summary("Tells the user of this connection.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE)
        .handler(Handler::Engine(acl::whoami)),
];
