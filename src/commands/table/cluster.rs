//! Cluster commands.

use crate::commands::spec::*;
use crate::commands::{Handler, cluster, help};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("asking", 1, Group::Cluster, "3.0.0")
        .summary("Allows the next command to use a slot that is being imported.")
        .complexity("O(1)")
        .flags(FAST)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(cluster::asking)),
    command("cluster", -2, Group::Cluster, "3.0.0")
        .summary("Groups the commands of cluster mode.")
        .complexity("Depends on subcommand.")
        .subcommands(&CLUSTER_SUBCOMMANDS)
        .handler(Handler::Container),
    command("clusterscan", -2, Group::Cluster, "9.1.0")
        .summary("Walks through the keys of the whole cluster step by step.")
        .complexity("O(N), N being the number of keys returned")
        .flags(READONLY)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(NOT_KEY, 1)])
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .arguments(&[
            string("cursor"),
            pattern("match-pattern").token("MATCH").optional(),
            integer("count").token("COUNT").optional(),
            string("type").token("TYPE").optional(),
            integer("slot").token("SLOT").optional(),
        ])
        .scope(Scope::SlotWalk)
        .handler(Handler::Engine(cluster::clusterscan)),
    command("readonly", 1, Group::Cluster, "3.0.0")
        .summary("Lets this connection read from a replica.")
        .complexity("O(1)")
        .flags(LOADING | STALE | FAST)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(cluster::readonly)),
    command("readwrite", 1, Group::Cluster, "3.0.0")
        .summary("Undoes READONLY.")
        .complexity("O(1)")
        .flags(LOADING | STALE | FAST)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(cluster::readwrite)),
];

static CLUSTER_SUBCOMMANDS: [CommandSpec; 34] = [
    command("cluster|addslots", -3, Group::Cluster, "3.0.0")
        .summary("Gives hash slots to this node.")
        .complexity("O(N), N being the number of slots given")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[integer("slot").multiple()])
        .handler(Handler::Server),
    command("cluster|addslotsrange", -4, Group::Cluster, "7.0.0")
        .summary("Gives ranges of hash slots to this node.")
        .complexity("O(N), N being the number of slots in the ranges")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[block("range", &[integer("start-slot"), integer("end-slot")]).multiple()])
        .handler(Handler::Server),
    command("cluster|bumpepoch", 2, Group::Cluster, "3.0.0")
        .summary("Raises the configuration epoch of this node.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("cluster|cancelslotmigrations", 2, Group::Cluster, "9.0.0")
        .summary("Cancels all slot migrations that are running.")
        .complexity("O(N), N being the number of migrations cancelled")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING | ALL_DBS)
        .handler(Handler::Server),
    command("cluster|count-failure-reports", 3, Group::Cluster, "3.0.0")
        .summary("Counts the reports that a node has failed.")
        .complexity("O(N), N being the number of reports")
        .flags(ADMIN | STALE)
        .tips(&["nondeterministic_output"])
        .history(&[("9.0.0", "Reports about a node already marked as failed are not counted.")])
        .arguments(&[string("node-id")])
        .handler(Handler::Server),
    command("cluster|countkeysinslot", 3, Group::Cluster, "3.0.0")
        .summary("Counts the keys of a hash slot.")
        .complexity("O(1)")
        .flags(STALE)
        .arguments(&[integer("slot")])
        .scope(Scope::SlotArgument)
        .handler(Handler::Engine(cluster::count_keys_in_slot)),
    command("cluster|delslots", -3, Group::Cluster, "3.0.0")
        .summary("Takes hash slots away from this node.")
        .complexity("O(N), N being the number of slots given")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[integer("slot").multiple()])
        .handler(Handler::Server),
    command("cluster|delslotsrange", -4, Group::Cluster, "7.0.0")
        .summary("Takes ranges of hash slots away from this node.")
        .complexity("O(N), N being the number of slots in the ranges")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[block("range", &[integer("start-slot"), integer("end-slot")]).multiple()])
        .handler(Handler::Server),
    command("cluster|failover", -2, Group::Cluster, "3.0.0")
        .summary("Makes a replica take over from its primary.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[
            one_of("options", &[keyword("force", "FORCE"), keyword("takeover", "TAKEOVER")]).optional()
        ])
        .handler(Handler::Server),
    command("cluster|flushslot", -3, Group::Cluster, "9.0.0")
        .summary("Deletes all keys of a hash slot.")
        .complexity("O(N), N being the number of keys in the slot")
        .flags(WRITE | ADMIN | NO_ASYNC_LOADING | ALL_DBS)
        .acl(Categories::KEYSPACE)
        .arguments(&[
            integer("slot"),
            one_of("flush-type", &[keyword("async", "ASYNC"), keyword("sync", "SYNC")]).optional(),
        ])
        .scope(Scope::SlotArgument)
        .handler(Handler::Engine(cluster::flush_slot)),
    command("cluster|flushslots", 2, Group::Cluster, "3.0.0")
        .summary("Takes all hash slots away from this node.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .handler(Handler::Server),
    command("cluster|forget", 3, Group::Cluster, "3.0.0")
        .summary("Removes a node from the list of known nodes.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[string("node-id")])
        .handler(Handler::Server),
    command("cluster|getkeysinslot", 4, Group::Cluster, "3.0.0")
        .summary("Lists keys of a hash slot.")
        .complexity("O(N), N being the number of keys asked for")
        .flags(STALE)
        .tips(&["nondeterministic_output"])
        .arguments(&[integer("slot"), integer("count")])
        .scope(Scope::SlotArgument)
        .handler(Handler::Engine(cluster::get_keys_in_slot)),
    command("cluster|getslotmigrations", 2, Group::Cluster, "9.0.0")
        .summary("Lists slot migrations, running and recent.")
        .complexity("O(N), N being the number of migrations")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .handler(Handler::Server),
    command("cluster|help", 2, Group::Cluster, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("cluster|info", 2, Group::Cluster, "3.0.0")
        .summary("Describes the state of the cluster as this node sees it.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("cluster|keyslot", 3, Group::Cluster, "3.0.0")
        .summary("Computes the hash slot of a key.")
        .complexity("O(N), N being the length of the key")
        .flags(STALE)
        .arguments(&[string("key")])
        .handler(Handler::Engine(cluster::keyslot)),
    command("cluster|links", 2, Group::Cluster, "7.0.0")
        .summary("Lists the connections to other nodes.")
        .complexity("O(N), N being the number of nodes")
        .flags(STALE)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("cluster|meet", -4, Group::Cluster, "3.0.0")
        .summary("Introduces another node to this one.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .history(&[("4.0.0", "`cluster_bus_port`.")])
        .arguments(&[string("ip"), integer("port"), integer("cluster-bus-port").since("4.0.0").optional()])
        .handler(Handler::Server),
    command("cluster|migrateslots", -4, Group::Cluster, "9.0.0")
        .summary("Starts moving hash slots to other nodes.")
        .complexity("O(N), N being the number of slots in the ranges")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING | ALL_DBS)
        .arguments(&[block(
            "migration-group",
            &[
                keyword("slotsrange-token", "SLOTSRANGE"),
                block("range", &[integer("start-slot"), integer("end-slot")]).multiple(),
                keyword("node-token", "NODE"),
                string("node-id"),
            ],
        )
        .multiple()])
        .handler(Handler::Server),
    command("cluster|myid", 2, Group::Cluster, "3.0.0")
        .summary("Tells the ID of this node.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Server),
    command("cluster|myshardid", 2, Group::Cluster, "7.2.0")
        .summary("Tells the ID of this node's shard.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("cluster|nodes", 2, Group::Cluster, "3.0.0")
        .summary("Lists the nodes in the format of nodes.conf.")
        .complexity("O(N), N being the number of nodes")
        .flags(LOADING | STALE)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("cluster|replicas", 3, Group::Cluster, "5.0.0")
        .summary("Lists the replicas of a primary.")
        .complexity("O(N), N being the number of replicas")
        .flags(ADMIN | STALE)
        .tips(&["nondeterministic_output"])
        .arguments(&[string("node-id")])
        .handler(Handler::Server),
    command("cluster|replicate", -3, Group::Cluster, "3.0.0")
        .summary("Makes this node a replica of another.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .history(&[("9.0.0", "`NO ONE` detaches a replica.")])
        .arguments(&[one_of(
            "args",
            &[
                string("node-id"),
                block("no-one", &[keyword("no", "NO"), keyword("one", "ONE")]).since("9.0.0"),
            ],
        )])
        .handler(Handler::Server),
    command("cluster|reset", -2, Group::Cluster, "3.0.0")
        .summary("Makes this node forget the cluster.")
        .complexity("O(N), N being the number of known nodes; may also delete all data")
        .flags(ADMIN | NOSCRIPT | STALE)
        .arguments(&[one_of("reset-type", &[keyword("hard", "HARD"), keyword("soft", "SOFT")]).optional()])
        .handler(Handler::Server),
    command("cluster|saveconfig", 2, Group::Cluster, "3.0.0")
        .summary("Writes nodes.conf to disk.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .handler(Handler::Server),
    command("cluster|set-config-epoch", 3, Group::Cluster, "3.0.0")
        .summary("Sets the configuration epoch of a new node.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .arguments(&[integer("config-epoch")])
        .handler(Handler::Server),
    command("cluster|setslot", -4, Group::Cluster, "3.0.0")
        .summary("Changes the state or the owner of a hash slot.")
        .complexity("O(1)")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .history(&[("8.0.0", "`TIMEOUT`.")])
        .arguments(&[
            integer("slot"),
            one_of(
                "subcommand",
                &[
                    string("importing").token("IMPORTING").display("node-id"),
                    string("migrating").token("MIGRATING").display("node-id"),
                    string("node").token("NODE").display("node-id"),
                    keyword("stable", "STABLE"),
                ],
            ),
            integer("timeout").token("TIMEOUT").since("8.0.0").optional(),
        ])
        .handler(Handler::Server),
    command("cluster|shards", 2, Group::Cluster, "7.0.0")
        .summary("Lists the shards with their slots and nodes.")
        .complexity("O(N), N being the number of nodes")
        .flags(LOADING | STALE)
        .tips(&["nondeterministic_output"])
        .history(&[("9.1.0", "Shards have an `id`, nodes an `availability-zone`.")])
        .handler(Handler::Server),
    command("cluster|slaves", 3, Group::Cluster, "3.0.0")
        .summary("Lists the replicas of a primary; the old name of CLUSTER REPLICAS.")
        .complexity("O(N), N being the number of replicas")
        .flags(ADMIN | STALE)
        .tips(&["nondeterministic_output"])
        .deprecated("5.0.0", "`CLUSTER REPLICAS`")
        .arguments(&[string("node-id")])
        .handler(Handler::Server),
    command("cluster|slot-stats", -4, Group::Cluster, "8.0.0")
        .summary("Lists usage figures of hash slots.")
        .complexity("O(N), N being the number of slots asked for; O(N*log(N)) with ORDERBY")
        .flags(LOADING | STALE)
        .tips(&["nondeterministic_output", "request_policy:all_shards"])
        .arguments(&[one_of(
            "filter",
            &[
                block("slotsrange", &[integer("start-slot"), integer("end-slot")]).token("SLOTSRANGE"),
                block(
                    "orderby",
                    &[
                        string("metric"),
                        integer("limit").token("LIMIT").optional(),
                        one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
                    ],
                )
                .token("ORDERBY"),
            ],
        )])
        .handler(Handler::Server),
    command("cluster|slots", 2, Group::Cluster, "3.0.0")
        .summary("Lists slot ranges and the nodes that serve them.")
        .complexity("O(N), N being the number of nodes")
        .flags(LOADING | STALE)
        .tips(&["nondeterministic_output"])
        .history(&[
            ("4.0.0", "Node IDs."),
            ("7.0.0", "Networking metadata."),
            ("9.1.0", "`availability-zone` in the networking metadata."),
        ])
        .handler(Handler::Server),
    command("cluster|syncslots", -3, Group::Cluster, "9.0.0")
        .summary("Carries the internal dialogue of a slot migration.")
        .complexity("Depends on subcommand.")
        .flags(ADMIN | STALE | NO_ASYNC_LOADING)
        .system()
        .handler(Handler::Server),
];
