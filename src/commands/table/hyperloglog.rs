//! HyperLogLog commands.

use crate::commands::Handler;
use crate::commands::hyperloglog;
use crate::commands::spec::*;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("pfadd", -2, Group::Hyperloglog, "2.8.9")
        .summary("Adds elements to a HyperLogLog, creating the key if needed.")
        .complexity("O(1) for each element")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HYPERLOGLOG)
        .keys(&[index_key(RW | INSERT, 1)])
        .arguments(&[key("key", 0), string("element").optional().multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hyperloglog::pfadd)),
    command("pfcount", -2, Group::Hyperloglog, "2.8.9")
        .summary("Estimates the number of distinct elements of HyperLogLogs.")
        .complexity("O(1) for one key; O(N) for N keys, with a much larger constant")
        .flags(READONLY | MAY_REPLICATE)
        .acl(Categories::HYPERLOGLOG)
        .keys(&[index_range(RW | ACCESS, 1, -1, 1)
            .notes("RW: the cached estimate inside the value may be refreshed")])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hyperloglog::pfcount)),
    command("pfdebug", 3, Group::Hyperloglog, "2.8.9")
        .summary("Looks inside a HyperLogLog, for tests.")
        .complexity("N/A")
        .flags(WRITE | DENYOOM | ADMIN)
        .acl(Categories::HYPERLOGLOG)
        .keys(&[index_key(RW | ACCESS, 2)])
        .system()
        .arguments(&[string("subcommand"), key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hyperloglog::pfdebug)),
    command("pfmerge", -2, Group::Hyperloglog, "2.8.9")
        .summary("Merges HyperLogLogs into one.")
        .complexity("O(N), N being the number of keys, with a large constant")
        .flags(WRITE | DENYOOM)
        .acl(Categories::HYPERLOGLOG)
        .keys(&[index_key(RW | ACCESS | INSERT, 1), index_range(RO | ACCESS, 2, -1, 1)])
        .arguments(&[key("destkey", 0), key("sourcekey", 1).optional().multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hyperloglog::pfmerge)),
    command("pfselftest", 1, Group::Hyperloglog, "2.8.9")
        .summary("Checks the HyperLogLog code, for tests.")
        .complexity("N/A")
        .flags(ADMIN)
        .acl(Categories::HYPERLOGLOG)
        .system()
        .handler(Handler::Engine(hyperloglog::pfselftest)),
];
