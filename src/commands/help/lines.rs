//! What the HELP subcommands say. The first text of a pair is the syntax of a subcommand; the second explains it, one
//! line of the reply per line.

/// (syntax, explanation); the syntax may have a second line, too.
pub(super) type Lines = &'static [(&'static str, &'static str)];

/// The lines of a container, by its name in lower case.
pub(super) fn of(container: &str) -> Option<Lines> {
    Some(match container {
        "acl" => ACL,
        "actor" => ACTOR,
        "client" => CLIENT,
        "cluster" => CLUSTER,
        "command" => COMMAND,
        "commandlog" => COMMANDLOG,
        "config" => CONFIG,
        "debug" => super::debug_lines::DEBUG,
        "function" => FUNCTION,
        "latency" => LATENCY,
        "memory" => MEMORY,
        "module" => MODULE,
        "object" => OBJECT,
        "pubsub" => PUBSUB,
        "script" => SCRIPT,
        "slowlog" => SLOWLOG,
        "xgroup" => XGROUP,
        "xinfo" => XINFO,
        _ => return None,
    })
}

const ACL: Lines = &[
    ("CAT [<category>]", "List the categories, or the commands of <category>."),
    ("DELUSER <username> [<username> ...]", "Delete users and close their connections."),
    (
        "DRYRUN <username> <command> [<arg> ...]",
        "Tell whether the user may run the command with these arguments. Nothing is run.",
    ),
    ("GETUSER <username>", "Describe a user."),
    ("GENPASS [<bits>]", "Make up a random password of 256 bits, or of as many bits as asked for."),
    ("LIST", "List the users as lines of an ACL file."),
    ("LOAD", "Replace the users by those of the ACL file."),
    ("LOG [<count> | RESET]", "List refused commands and logins, or forget them."),
    ("SAVE", "Write the users to the ACL file."),
    ("SETUSER <username> <rule> [<rule> ...]", "Apply rules to a user, who is created if needed."),
    ("USERS", "List the user names."),
    ("WHOAMI", "Tell the user of this connection."),
];

const ACTOR: Lines = &[
    ("LIST", "List the actors of this server."),
    ("INFO <actor>", "Describe the state of an actor."),
    (
        "MIGRATION [<job> [HOLD|RESUME|RATE <bytes-per-second>]]",
        "List slot migrations, show how one went, or steer it.",
    ),
    ("HISTOGRAM [<actor> [<message>]]", "Show how long messages waited and how long they ran."),
    (
        "TRACE START [<filter> <value> ...]",
        "Record messages from now on. Filters, each as often as wanted:\n\
         * KIND <kind>: only messages to actors of this kind.\n\
         * MESSAGE <name>: only messages of this type.\n\
         * CLIENT <id>: only what this client's requests cause.\n\
         * SLOT <slot>: only what requests with a key of this slot cause.\n\
         * SLOWER-THAN <usec>: only messages that waited and ran at least so long together.\n\
         * SAMPLE <n>: only every n-th event from outside.",
    ),
    ("TRACE STOP", "Record no more; what was recorded stays readable."),
    ("TRACE GET [<count>]", "Return the newest records, oldest first."),
    ("TRACE DUMP <filename>", "Write the records to a file in the working directory, for ui.perfetto.dev."),
    ("EFFECTS", "Take the propagated commands collected since the last call."),
    ("EVENTS", "Take the keyspace events collected since the last call."),
    ("SLOW [<count>|RESET]", "List the longest waits and runs of messages, and what they waited behind."),
];

const CLIENT: Lines = &[
    ("CACHING (YES|NO)", "In OPTIN or OPTOUT mode: track, or do not track, the keys of the next command."),
    (
        "CAPA <option> [options...]",
        "State what this client can deal with. Options:\n\
         * REDIRECT\n  It follows redirections when primary and replica change places outside a cluster.",
    ),
    ("GETREDIR", "Tell the ID of the client that receives the invalidation messages of this one."),
    ("GETNAME", "Tell the name of this connection."),
    ("ID", "Tell the ID of this connection."),
    ("INFO", "Describe this connection."),
    ("KILL <ip:port>", "Close the connection that comes from <ip:port>."),
    (
        "KILL <option> <value> [<option> <value> [...]]",
        "Close all connections that fit every option. Options:\n\
         * ADDR (<ip:port>|<unixsocket>:0)\n  Comes from this address.\n\
         * LADDR (<ip:port>|<unixsocket>:0)\n  Was accepted at this address.\n\
         * TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB)\n  Is of this kind.\n\
         * USER <username>\n  Is logged in as this user.\n\
         * SKIPME (YES|NO)\n  Spare this connection (default: yes).\n\
         * ID <client-id> [<client-id>...]\n  Has one of these IDs.\n\
         * MAXAGE <maxage>\n  Is older than so many seconds.\n\
         * FLAGS <flags>\n  Has all of these flags.\n\
         * NAME <client-name>\n  Has this name.\n\
         * IDLE <idle>\n  Has been idle for at least <idle> seconds.\n\
         * LIB-NAME <library-name>\n  Uses this library.\n\
         * LIB-VER <library-version>\n  Uses this version of its library.\n\
         * DB <db-id>\n  Has this database selected.\n\
         * CAPA <capa>\n  Has stated this capability.\n\
         * IP <ip>\n  Comes from this IP address.",
    ),
    (
        "LIST [options ...]",
        "List the connections, or those that fit every option. Options:\n\
         * TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB)\n  Is of this kind.\n\
         * USER <username>\n  Is logged in as this user.\n\
         * ADDR <ip:port>\n  Comes from this address.\n\
         * LADDR <ip:port>\n  Was accepted at this address.\n\
         * ID <client-id> [<client-id>...]\n  Has one of these IDs.\n\
         * SKIPME (YES|NO)\n  Leave out this connection (default: no).\n\
         * MAXAGE <maxage>\n  Is older than so many seconds.\n\
         * FLAGS <flags>\n  Has all of these flags.\n\
         * NAME <client-name>\n  Has this name.\n\
         * IDLE <idle>\n  Has been idle for at least <idle> seconds.\n\
         * LIB-NAME <lib-name>\n  Uses this library.\n\
         * LIB-VER <lib-version>\n  Uses this version of its library.\n\
         * DB <db-id>\n  Has this database selected.\n\
         * CAPA <capa>\n  Has stated this capability.\n\
         * IP <ip>\n  Comes from this IP address.",
    ),
    ("UNPAUSE", "Let paused clients go on."),
    ("PAUSE <timeout> [WRITE|ALL]", "Hold back all commands, or only writes, for <timeout> milliseconds."),
    ("REPLY (ON|OFF|SKIP)", "Send replies on this connection, send none, or leave out the next one."),
    ("SETNAME <name>", "Name this connection."),
    (
        "SETINFO <option> <value>",
        "Tell a fact about the client. Options:\n* LIB-NAME: the name of its library.\n* LIB-VER: the version of its library.",
    ),
    ("TRACE (ON|OFF)", "Record what this connection's requests cause, for ACTOR TRACE GET."),
    ("UNBLOCK <clientid> [TIMEOUT|ERROR]", "Wake up a client that waits in a blocking command."),
    (
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]\n         [OPTIN] [OPTOUT] [NOLOOP]",
        "Turn invalidation messages for a cache in the client on or off.",
    ),
    ("TRACKINGINFO", "Describe the tracking of this connection."),
    ("NO-EVICT (ON|OFF)", "Exempt this connection from client eviction."),
    ("NO-TOUCH (ON|OFF)", "Commands of this connection do not count as use of the keys."),
    (
        "IMPORT-SOURCE (ON|OFF)",
        "In import mode: mark this connection as the one that imports.\nIt may see expired keys.",
    ),
];

const CLUSTER: Lines = &[
    ("COUNTKEYSINSLOT <slot>", "Count the keys of a slot."),
    ("GETKEYSINSLOT <slot> <count>", "List up to <count> keys of a slot."),
    ("INFO", "Describe the state of the cluster."),
    ("KEYSLOT <key>", "Compute the slot of a key."),
    ("MYID", "Tell the ID of this node."),
    ("MYSHARDID", "Tell the ID of this node's shard."),
    (
        "NODES",
        "List the nodes as this one sees them, a line each:\n\
         <id> <ip:port@bus-port[,hostname]> <flags> <primary> <pings> <pongs> <epoch> <link> <slot> ...",
    ),
    ("REPLICAS <node-id>", "List the replicas of a primary."),
    ("SLOTS", "List slot ranges:\nstart, end, then address, port and ID of the primary and of each replica."),
    ("SLOT-STATS", "List usage figures of the slots of this node."),
    ("SHARDS", "List the shards with their slots and nodes."),
    ("ADDSLOTS <slot> [<slot> ...]", "Give slots to this node."),
    (
        "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "Give ranges of slots to this node.",
    ),
    ("BUMPEPOCH", "Raise the configuration epoch of this node."),
    ("COUNT-FAILURE-REPORTS <node-id>", "Count the reports that <node-id> has failed."),
    ("DELSLOTS <slot> [<slot> ...]", "Take slots away from this node."),
    (
        "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "Take ranges of slots away from this node.",
    ),
    ("FAILOVER [FORCE|TAKEOVER]", "Make this replica take over from its primary."),
    ("FORGET <node-id>", "Remove a node from the list of known nodes."),
    ("FLUSHSLOTS", "Take all slots away from this node."),
    ("MEET <ip> <port> [<bus-port>]", "Introduce another node to this one."),
    ("REPLICATE <node-id>", "Make this node a replica of <node-id>."),
    ("RESET [HARD|SOFT]", "Make this node forget the cluster (default: soft)."),
    ("SET-CONFIG-EPOCH <epoch>", "Set the configuration epoch of a new node."),
    (
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        "Change the state or the owner of a slot.",
    ),
    ("SAVECONFIG", "Write nodes.conf to disk."),
    ("LINKS", "List the connections to and from other nodes,\neach a map of its properties."),
    (
        "MIGRATESLOTS SLOTSRANGE start-slot end-slot [start-slot end-slot ...] NODE node-id \
         [SLOTSRANGE start-slot end-slot [start-slot end-slot ...] NODE node-id ...]",
        "Start moving ranges of slots from this node to others.",
    ),
    ("CANCELSLOTMIGRATIONS ALL", "Cancel all slot migrations that are running."),
    ("GETSLOTMIGRATIONS", "List slot migrations, running and recent."),
];

const COMMAND: Lines = &[
    ("(no subcommand)", "Describe all commands."),
    ("COUNT", "Count the commands."),
    ("LIST", "List the names of the commands."),
    ("INFO [<command-name> ...]", "Describe the named commands, or all."),
    ("DOCS [<command-name> ...]", "Document the named commands, or all."),
    ("GETKEYS <full-command>", "List the keys in a command line."),
    ("GETKEYSANDFLAGS <full-command>", "List the keys in a command line and what happens to them."),
];

const COMMANDLOG: Lines = &[
    (
        "GET <count> <type>",
        "List the newest <count> entries of the <type> log (-1: all). An entry consists of\n\
         id, timestamp,\n    microseconds for slow,\n    bytes for large-request,\n    bytes for large-reply,\n\
         arguments, address of the client,\nname of the client",
    ),
    ("LEN <type>", "Count the entries of the <type> log."),
    ("RESET <type>", "Empty the <type> log."),
];

const CONFIG: Lines = &[
    ("GET <pattern>", "List the parameters that match <pattern>, with their values."),
    ("SET <directive> <value>", "Change a parameter of the running server."),
    ("RESETSTAT", "Set the statistics of INFO back to zero."),
    ("REWRITE", "Write the configuration in effect to its file."),
];

const FUNCTION: Lines = &[
    ("LOAD [REPLACE] <FUNCTION CODE>", "Create a library; its first line names it."),
    ("DELETE <LIBRARY NAME>", "Delete a library."),
    (
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "List the libraries, or those that match a pattern:\n* name\n* engine\n* functions\n* code, with WITHCODE",
    ),
    (
        "STATS",
        "Describe the function that is running, if any:\n* name\n* the command that called it\n\
         * for how many milliseconds it has been running\nand the engines.",
    ),
    ("KILL", "Stop the function that is running."),
    (
        "FLUSH [ASYNC|SYNC]",
        "Delete all libraries. Without a mode, lazyfree-lazy-user-flush decides:\n\
         * ASYNC: free the memory in the background.\n* SYNC: wait for it.",
    ),
    ("DUMP", "Serialize all libraries for FUNCTION RESTORE."),
    (
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "Create libraries from a serialized form (default: APPEND):\n\
         * FLUSH: delete the present libraries first.\n* APPEND: fail if a library exists.\n\
         * REPLACE: replace libraries of the same name; fails if a function exists in another one.",
    ),
];

const LATENCY: Lines = &[
    ("DOCTOR", "Explain the latencies seen and what to do about them."),
    ("GRAPH <event>", "Draw the latencies of <event> over time."),
    ("HISTORY <event>", "List the latencies of <event> over time."),
    ("LATEST", "Show the latest latency of every event."),
    ("RESET [<event> ...]", "Forget the latencies of the given events,\nor of all."),
    ("HISTOGRAM [COMMAND ...]", "Show the distribution of the run times of the given commands,\nor of all."),
];

const MEMORY: Lines = &[
    ("DOCTOR", "Explain memory problems."),
    ("MALLOC-STATS", "Report the statistics of the allocator."),
    ("PURGE", "Ask the allocator to return memory to the system."),
    ("STATS", "Report what memory is used for."),
    (
        "USAGE <key> [SAMPLES <count>]",
        "Estimate the bytes that <key> and its value take. Of a collection,\n\
         <count> elements are measured (default: 5, 0: all).",
    ),
];

const MODULE: Lines = &[
    ("LIST", "List the loaded modules."),
    ("LOAD <path> [<arg> ...]", "Load a module with arguments."),
    (
        "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
        "Load a module with configuration parameters and arguments.",
    ),
    ("UNLOAD <name>", "Unload a module."),
];

const OBJECT: Lines = &[
    ("ENCODING <key>", "Tell how the value of <key> is represented."),
    ("FREQ <key>", "Tell the access counter of <key>,\nwhich grows with the logarithm of recent use."),
    ("IDLETIME <key>", "Tell for how many seconds <key> has not been used."),
    ("REFCOUNT <key>", "Tell how many references to the value of <key> exist."),
];

const PUBSUB: Lines = &[
    ("CHANNELS [<pattern>]", "List channels with subscribers that match <pattern> (default: '*')."),
    ("NUMPAT", "Count the patterns that have subscribers."),
    ("NUMSUB [<channel> ...]", "Count the subscribers of the given channels,\nwithout those of patterns."),
    (
        "SHARDCHANNELS [<pattern>]",
        "List shard channels with subscribers that match <pattern> (default: '*').",
    ),
    ("SHARDNUMSUB [<shardchannel> ...]", "Count the subscribers of the given shard channels."),
];

const SCRIPT: Lines = &[
    (
        "DEBUG (YES|SYNC|NO) [<engine_name>]",
        "Set the debug mode of the scripts that follow.\nThe engine is 'lua' unless named.",
    ),
    ("EXISTS <sha1> [<sha1> ...]", "Tell which of the scripts are cached."),
    (
        "FLUSH [ASYNC|SYNC]",
        "Empty the script cache. Without a mode, lazyfree-lazy-user-flush decides:\n\
         * ASYNC: free the memory in the background.\n* SYNC: wait for it.",
    ),
    ("KILL", "Stop the script that is running."),
    ("LOAD <script>", "Put a script into the cache without running it."),
    ("SHOW <sha1>", "Return the text of a cached script."),
];

const SLOWLOG: Lines = &[
    (
        "GET [<count>]",
        "List the newest <count> entries (default: 10, -1: all). An entry consists of\n\
         id, timestamp, microseconds, arguments, address of the client,\nname of the client",
    ),
    ("LEN", "Count the entries."),
    ("RESET", "Empty the log."),
];

const XGROUP: Lines = &[
    (
        "CREATE <key> <groupname> <id|$> [option]",
        "Create a consumer group. Options:\n* MKSTREAM\n  Create the stream if it does not exist.\n\
         * ENTRIESREAD entries_read\n  How many entries count as read (for internal use).",
    ),
    ("CREATECONSUMER <key> <groupname> <consumer>", "Create a consumer."),
    ("DELCONSUMER <key> <groupname> <consumer>", "Delete a consumer and its pending entries."),
    ("DESTROY <key> <groupname>", "Delete a group."),
    (
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "Set the last delivered ID and the number of entries read.",
    ),
];

const XINFO: Lines = &[
    ("CONSUMERS <key> <groupname>", "List the consumers of a group."),
    ("GROUPS <key>", "List the groups of a stream."),
    ("STREAM <key> [FULL [COUNT <count>]", "Describe a stream."),
];
