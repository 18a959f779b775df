//! What DEBUG HELP says. DEBUG has no rows for its subcommands: a line here comes and goes with its code.

use super::lines::Lines;

pub(super) const DEBUG: Lines = &[
    ("AOF-FLUSH-SLEEP <microsec>", "Sleep before every flush of the append-only file, for tests."),
    ("ASSERT", "Fail an assertion, which ends the server."),
    ("CHANGE-REPL-ID", "Change the replication IDs.\nFor tests of replication only."),
    (
        "CONFIG-REWRITE-FORCE-ALL",
        "Write the configuration file with all parameters,\nalso those at their defaults.",
    ),
    ("CRASH-AND-RECOVER [<milliseconds>]", "Crash, and start again after <milliseconds> (default 0)."),
    ("DIGEST", "Compute a signature of all data."),
    ("DIGEST-VALUE <key> [<key> ...]", "Compute the signatures of the values of keys."),
    ("ERROR <string>", "Reply with an error made of <string>,\nto test how clients deal with it."),
    ("LEAK <string>", "Lose the memory of a copy of <string>."),
    ("LOG <message>", "Write <message> to the log of the server."),
    ("HTSTATS <dbid> [full]", "Describe the hash tables of a database."),
    ("HTSTATS-KEY <key> [full]", "Describe the hash table behind <key>."),
    ("LOADAOF", "Flush the append-only file and load it again."),
    ("REPLICATE <string>", "Send <string> to the replicas as a command, so that they may diverge."),
    (
        "OBJECT <key> [fast]",
        "Describe the representation of <key>.\nWith `fast`, properties that take time\nto find out are left out.",
    ),
    (
        "DROP-CLUSTER-PACKET-FILTER <packet-type>",
        "Drop received bus packets of one type; -1 drops none, -2 all.",
    ),
    (
        "CLOSE-CLUSTER-LINK-ON-PACKET-DROP <0|1>",
        "With 1, a dropped packet also closes its link.\nNeeds DROP-CLUSTER-PACKET-FILTER.",
    ),
    ("DISABLE-CLUSTER-RANDOM-PING <0|1>", "With 1, do not ping random nodes."),
    ("DISABLE-CLUSTER-RECONNECTION <0|1>", "With 1, do not reconnect to nodes."),
    ("OOM", "End the server as if memory were exhausted."),
    ("PANIC", "End the server by a panic."),
    (
        "POPULATE <count> [<prefix>] [<size>]",
        "Create <count> keys named key:<number>, or with another <prefix>.\nNothing is propagated to replicas,\n\
         and slots of other nodes are used, too.",
    ),
    (
        "PROTOCOL <type>",
        "Reply with a sample of a type: string,\ninteger, double, bignum, null, array, set, map, attrib, push, verbatim,\n\
         true, false.",
    ),
    (
        "RELOAD [option ...]",
        "Save the data and load it again. Options:\n* MERGE: a key that exists is replaced by the one of the file.\n\
         * NOFLUSH: keep the data that is there;\n  a key that exists ends the server.\n\
         * NOSAVE: load the file that is there.",
    ),
    ("RESTART [<milliseconds>]", "Save everything, and start again after <milliseconds> (default 0)."),
    ("SDSLEN <key>", "Describe the strings behind <key>."),
    ("SEGFAULT", "End the server by an invalid access to memory."),
    ("SET-ACTIVE-EXPIRE <0|1>", "With 0, expired keys are removed only when they are accessed."),
    (
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "Set the size from which a list element has a node of its own\n(up to 4GB; 0 restores the default of 1GB).",
    ),
    ("SET-SKIP-CHECKSUM-VALIDATION <0|1>", "With 1, do not check checksums of RDB files and of RESTORE."),
    ("SLEEP <seconds>", "Stop the whole server for a time, which may have a fraction."),
    ("STRINGMATCH-TEST", "Try the pattern matcher with random input."),
    ("STRUCTSIZE", "Tell the sizes of important structures."),
    ("LISTPACK <key>", "Describe the listpack of <key>."),
    ("QUICKLIST <key> [<0|1>]", "Describe the quicklist of <key>,\nwith 1 in detail."),
    ("CLIENT-EVICTION", "Describe the pools that client eviction uses."),
    ("PAUSE-CRON <0|1>", "With 1, no periodic work is done."),
    (
        "REPLYBUFFER PEAK-RESET-TIME <NEVER||RESET|time>",
        "Set after how many milliseconds the peak use of a reply buffer is forgotten;\nNEVER keeps it,\n\
         RESET restores the default.",
    ),
    ("REPLYBUFFER RESIZING <0|1>", "With 0, reply buffers keep their size."),
    ("PAUSE-AFTER-FORK <0|1>", "With 1, the server stops after a fork."),
    ("DELAY-RDB-CLIENT-FREE-SECOND <seconds>", "Set how long a replica may take to begin its partial sync."),
    ("DICT-RESIZING <0|1>", "With 0, the tables of keys keep their size."),
    ("HASHTABLE-CAN-ABORT-SHRINK <0|1>", "With 0, a table that shrinks does not turn back."),
    ("CLIENT-ENFORCE-REPLY-LIST <0|1>", "With 1, replies never use the fixed buffer\nof a client."),
    ("SLOTMIGRATION PREVENT-PAUSE <0|1>", "With 1, the source of a slot migration does not pause."),
    ("SLOTMIGRATION PREVENT-FAILOVER <0|1>", "With 1, the target of a slot migration does not take over."),
    ("FORCE-FREE-PRIMARY-ASYNC <0|1>", "With 1, the connection to the primary is closed later."),
    ("PROTECT-CLIENT <id>", "Close a client later than it should be."),
    ("FORCE-TLS-WRITE-ERROR <0|1>", "With 1, writing to TLS connections fails."),
    ("CLUSTERLINK KILL <to|from|all> <node-id>", "Close the links to or from a node, or both."),
];
