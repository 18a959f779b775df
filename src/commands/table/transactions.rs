//! Transaction commands.

use crate::commands::Handler;
use crate::commands::spec::*;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("discard", 1, Group::Transactions, "2.0.0")
        .summary("Drops the queued commands of a transaction.")
        .complexity("O(N), N being the number of queued commands")
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .acl(Categories::TRANSACTION)
        .handler(Handler::Transaction),
    command("exec", 1, Group::Transactions, "1.2.0")
        .summary("Runs the queued commands of a transaction.")
        .complexity("Depends on the queued commands")
        .flags(NOSCRIPT | LOADING | STALE | SKIP_COMMANDLOG)
        .acl(Categories::TRANSACTION)
        .handler(Handler::Transaction),
    command("multi", 1, Group::Transactions, "1.2.0")
        .summary("Starts a transaction.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_MULTI | ALLOW_BUSY)
        .acl(Categories::TRANSACTION)
        .handler(Handler::Transaction),
    command("unwatch", 1, Group::Transactions, "2.2.0")
        .summary("Stops watching keys.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .acl(Categories::TRANSACTION)
        .handler(Handler::Transaction),
    command("watch", -2, Group::Transactions, "2.2.0")
        .summary("Watches keys, so that a change makes EXEC do nothing.")
        .complexity("O(1) for each key")
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_MULTI | ALLOW_BUSY)
        .acl(Categories::TRANSACTION)
        .keys(&[index_range(RO, 1, -1, 1)])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Transaction),
];
