//! Sorted set commands.

use crate::commands::Handler;
use crate::commands::sorted_set::{add, algebra, blocking, pop, random, range, read, remove, scan};
use crate::commands::spec::*;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("bzmpop", -5, Group::SortedSet, "7.0.0")
        .summary("Takes members from the first sorted set that has any, waiting if none has.")
        .complexity(
            "O(K)+O(M*log(N)), K being the number of keys, N the size of the sorted set and M \
             the number of members taken",
        )
        .flags(WRITE | BLOCKING | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[counted_keys(RW | ACCESS | DELETE, 2, 1)])
        .arguments(&[
            double("timeout"),
            integer("numkeys"),
            key("key", 0).multiple(),
            one_of("where", &[keyword("min", "MIN"), keyword("max", "MAX")]),
            integer("count").token("COUNT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(blocking::bzmpop)),
    command("bzpopmax", -3, Group::SortedSet, "5.0.0")
        .summary("Takes the member with the highest score, waiting if there is none.")
        .complexity("O(log(N)), N being the size of the sorted set")
        .flags(WRITE | BLOCKING | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_range(RW | ACCESS | DELETE, 1, -2, 1)])
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .arguments(&[key("key", 0).multiple(), double("timeout")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(blocking::bzpopmax)),
    command("bzpopmin", -3, Group::SortedSet, "5.0.0")
        .summary("Takes the member with the lowest score, waiting if there is none.")
        .complexity("O(log(N)), N being the size of the sorted set")
        .flags(WRITE | BLOCKING | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_range(RW | ACCESS | DELETE, 1, -2, 1)])
        .history(&[("6.0.0", "`timeout` may have a fraction.")])
        .arguments(&[key("key", 0).multiple(), double("timeout")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(blocking::bzpopmin)),
    command("zadd", -4, Group::SortedSet, "1.2.0")
        .summary("Adds members to a sorted set or changes their scores.")
        .complexity("O(log(N)) for each member, N being the size of the sorted set")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[
            ("2.4.0", "Takes several members."),
            ("3.0.2", "`XX`, `NX`, `CH` and `INCR`."),
            ("6.2.0", "`GT` and `LT`."),
        ])
        .arguments(&[
            key("key", 0),
            one_of("condition", &[keyword("nx", "NX"), keyword("xx", "XX")]).since("3.0.2").optional(),
            one_of("comparison", &[keyword("gt", "GT"), keyword("lt", "LT")]).since("6.2.0").optional(),
            keyword("change", "CH").since("3.0.2").optional(),
            keyword("increment", "INCR").since("3.0.2").optional(),
            block("data", &[double("score"), string("member")]).multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(add::zadd)),
    command("zcard", 2, Group::SortedSet, "1.2.0")
        .summary("Tells the number of members.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zcard)),
    command("zcount", 4, Group::SortedSet, "2.0.0")
        .summary("Counts the members within a range of scores.")
        .complexity("O(log(N)), N being the size of the sorted set")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), double("min"), double("max")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zcount)),
    command("zdiff", -3, Group::SortedSet, "6.2.0")
        .summary("Computes the members of the first sorted set that no other has.")
        .complexity(
            "O(L+(N-K)*log(N)) at worst, L being the number of members of all sets, N the \
             size of the first and K of the result",
        )
        .flags(READONLY | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[counted_keys(RO | ACCESS, 1, 1)])
        .arguments(&[
            integer("numkeys"),
            key("key", 0).multiple(),
            keyword("withscores", "WITHSCORES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zdiff)),
    command("zdiffstore", -4, Group::SortedSet, "6.2.0")
        .summary("Stores the members of the first sorted set that no other has.")
        .complexity(
            "O(L+(N-K)*log(N)) at worst, L being the number of members of all sets, N the \
             size of the first and K of the result",
        )
        .flags(WRITE | DENYOOM | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(OW | UPDATE, 1), counted_keys(RO | ACCESS, 2, 1)])
        .arguments(&[key("destination", 0), integer("numkeys"), key("key", 1).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zdiffstore)),
    command("zincrby", 4, Group::SortedSet, "1.2.0")
        .summary("Adds a given amount to a member's score.")
        .complexity("O(log(N)), N being the size of the sorted set")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("increment"), string("member")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(add::zincrby)),
    command("zinter", -3, Group::SortedSet, "6.2.0")
        .summary("Computes the members common to all sorted sets.")
        .complexity(
            "O(N*K)+O(M*log(M)) at worst, N being the size of the smallest set, K the number \
             of sets and M the size of the result",
        )
        .flags(READONLY | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[counted_keys(RO | ACCESS, 1, 1)])
        .arguments(&[
            integer("numkeys"),
            key("key", 0).multiple(),
            integer("weight").token("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[keyword("sum", "SUM"), keyword("min", "MIN"), keyword("max", "MAX")])
                .token("AGGREGATE")
                .optional(),
            keyword("withscores", "WITHSCORES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zinter)),
    command("zintercard", -3, Group::SortedSet, "7.0.0")
        .summary("Counts the members common to all sorted sets.")
        .complexity("O(N*K) at worst, N being the size of the smallest set and K the number of sets")
        .flags(READONLY | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[counted_keys(RO | ACCESS, 1, 1)])
        .arguments(&[
            integer("numkeys"),
            key("key", 0).multiple(),
            integer("limit").token("LIMIT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zintercard)),
    command("zinterstore", -4, Group::SortedSet, "2.0.0")
        .summary("Stores the members common to all sorted sets.")
        .complexity(
            "O(N*K)+O(M*log(M)) at worst, N being the size of the smallest set, K the number \
             of sets and M the size of the result",
        )
        .flags(WRITE | DENYOOM | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(OW | UPDATE, 1), counted_keys(RO | ACCESS, 2, 1)])
        .arguments(&[
            key("destination", 0),
            integer("numkeys"),
            key("key", 1).multiple(),
            integer("weight").token("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[keyword("sum", "SUM"), keyword("min", "MIN"), keyword("max", "MAX")])
                .token("AGGREGATE")
                .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zinterstore)),
    command("zlexcount", 4, Group::SortedSet, "2.8.9")
        .summary("Counts the members within a lexicographical range.")
        .complexity("O(log(N)), N being the size of the sorted set")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("min"), string("max")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zlexcount)),
    command("zmpop", -4, Group::SortedSet, "7.0.0")
        .summary("Takes members from the first sorted set that has any.")
        .complexity(
            "O(K)+O(M*log(N)), K being the number of keys, N the size of the sorted set and M \
             the number of members taken",
        )
        .flags(WRITE | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[counted_keys(RW | ACCESS | DELETE, 1, 1)])
        .arguments(&[
            integer("numkeys"),
            key("key", 0).multiple(),
            one_of("where", &[keyword("min", "MIN"), keyword("max", "MAX")]),
            integer("count").token("COUNT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(pop::zmpop)),
    command("zmscore", -3, Group::SortedSet, "6.2.0")
        .summary("Tells the scores of several members.")
        .complexity("O(N), N being the number of members asked for")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("member").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zmscore)),
    command("zpopmax", -2, Group::SortedSet, "5.0.0")
        .summary("Takes members with the highest scores.")
        .complexity(
            "O(log(N)*M), N being the size of the sorted set and M the number of members \
             taken",
        )
        .flags(WRITE | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | ACCESS | DELETE, 1)])
        .arguments(&[key("key", 0), integer("count").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(pop::zpopmax)),
    command("zpopmin", -2, Group::SortedSet, "5.0.0")
        .summary("Takes members with the lowest scores.")
        .complexity(
            "O(log(N)*M), N being the size of the sorted set and M the number of members \
             taken",
        )
        .flags(WRITE | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | ACCESS | DELETE, 1)])
        .arguments(&[key("key", 0), integer("count").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(pop::zpopmin)),
    command("zrandmember", -2, Group::SortedSet, "6.2.0")
        .summary("Returns random members.")
        .complexity("O(N), N being the number of members returned")
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .arguments(&[
            key("key", 0),
            block("options", &[integer("count"), keyword("withscores", "WITHSCORES").optional()]).optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(random::zrandmember)),
    command("zrange", -4, Group::SortedSet, "1.2.0")
        .summary("Reads a range of members by rank, score or name.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             returned",
        )
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("6.2.0", "`REV`, `BYSCORE`, `BYLEX` and `LIMIT`.")])
        .arguments(&[
            key("key", 0),
            string("start"),
            string("stop"),
            one_of("sortby", &[keyword("byscore", "BYSCORE"), keyword("bylex", "BYLEX")])
                .since("6.2.0")
                .optional(),
            keyword("rev", "REV").since("6.2.0").optional(),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").since("6.2.0").optional(),
            keyword("withscores", "WITHSCORES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrange)),
    command("zrangebylex", -4, Group::SortedSet, "2.8.9")
        .summary("Reads the members within a lexicographical range.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             returned",
        )
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            string("min"),
            string("max"),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrangebylex)),
    command("zrangebyscore", -4, Group::SortedSet, "1.0.5")
        .summary("Reads the members within a range of scores.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             returned",
        )
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("2.0.0", "`WITHSCORES`.")])
        .arguments(&[
            key("key", 0),
            double("min"),
            double("max"),
            keyword("withscores", "WITHSCORES").since("2.0.0").optional(),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrangebyscore)),
    command("zrangestore", -5, Group::SortedSet, "6.2.0")
        .summary("Stores a range of members in another key.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             stored",
        )
        .flags(WRITE | DENYOOM)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(OW | UPDATE, 1), index_key(RO | ACCESS, 2)])
        .arguments(&[
            key("dst", 0),
            key("src", 1),
            string("min"),
            string("max"),
            one_of("sortby", &[keyword("byscore", "BYSCORE"), keyword("bylex", "BYLEX")]).optional(),
            keyword("rev", "REV").optional(),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrangestore)),
    command("zrank", -3, Group::SortedSet, "2.0.0")
        .summary("Tells the position of a member, lowest score first.")
        .complexity("O(log(N))")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("7.2.0", "`WITHSCORE`.")])
        .arguments(&[key("key", 0), string("member"), keyword("withscore", "WITHSCORE").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zrank)),
    command("zrem", -3, Group::SortedSet, "1.2.0")
        .summary("Removes members.")
        .complexity(
            "O(M*log(N)), N being the size of the sorted set and M the number of members \
             given",
        )
        .flags(WRITE | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | DELETE, 1)])
        .history(&[("2.4.0", "Takes several members.")])
        .arguments(&[key("key", 0), string("member").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(remove::zrem)),
    command("zremrangebylex", 4, Group::SortedSet, "2.8.9")
        .summary("Removes the members within a lexicographical range.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             removed",
        )
        .flags(WRITE)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | DELETE, 1)])
        .arguments(&[key("key", 0), string("min"), string("max")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(remove::zremrangebylex)),
    command("zremrangebyrank", 4, Group::SortedSet, "2.0.0")
        .summary("Removes the members within a range of positions.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             removed",
        )
        .flags(WRITE)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | DELETE, 1)])
        .arguments(&[key("key", 0), integer("start"), integer("stop")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(remove::zremrangebyrank)),
    command("zremrangebyscore", 4, Group::SortedSet, "1.2.0")
        .summary("Removes the members within a range of scores.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             removed",
        )
        .flags(WRITE)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RW | DELETE, 1)])
        .arguments(&[key("key", 0), double("min"), double("max")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(remove::zremrangebyscore)),
    command("zrevrange", -4, Group::SortedSet, "1.2.0")
        .summary("Reads a range of members by position, highest score first.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             returned",
        )
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            integer("start"),
            integer("stop"),
            keyword("withscores", "WITHSCORES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrevrange)),
    command("zrevrangebylex", -4, Group::SortedSet, "2.8.9")
        .summary("Reads the members within a lexicographical range, last first.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             returned",
        )
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            string("max"),
            string("min"),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrevrangebylex)),
    command("zrevrangebyscore", -4, Group::SortedSet, "2.2.0")
        .summary("Reads the members within a range of scores, highest first.")
        .complexity(
            "O(log(N)+M), N being the size of the sorted set and M the number of members \
             returned",
        )
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("2.1.6", "`min` and `max` may be exclusive.")])
        .arguments(&[
            key("key", 0),
            double("max"),
            double("min"),
            keyword("withscores", "WITHSCORES").optional(),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(range::zrevrangebyscore)),
    command("zrevrank", -3, Group::SortedSet, "2.0.0")
        .summary("Tells the position of a member, highest score first.")
        .complexity("O(log(N))")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("7.2.0", "`WITHSCORE`.")])
        .arguments(&[key("key", 0), string("member"), keyword("withscore", "WITHSCORE").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zrevrank)),
    command("zscan", -3, Group::SortedSet, "2.8.0")
        .summary("Walks through a sorted set step by step.")
        .complexity("O(1) for each call, O(N) for a whole walk over N members")
        .flags(READONLY)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .history(&[("8.0.0", "`NOSCORES`.")])
        .arguments(&[
            key("key", 0),
            integer("cursor"),
            pattern("pattern").token("MATCH").optional(),
            integer("count").token("COUNT").optional(),
            keyword("noscores", "NOSCORES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(scan::zscan)),
    command("zscore", 3, Group::SortedSet, "1.2.0")
        .summary("Tells the score of a member.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("member")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(read::zscore)),
    command("zunion", -3, Group::SortedSet, "6.2.0")
        .summary("Computes the members of any of the sorted sets.")
        .complexity(
            "O(N)+O(M*log(M)), N being the number of members of all sets and M the size of \
             the result",
        )
        .flags(READONLY | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[counted_keys(RO | ACCESS, 1, 1)])
        .arguments(&[
            integer("numkeys"),
            key("key", 0).multiple(),
            integer("weight").token("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[keyword("sum", "SUM"), keyword("min", "MIN"), keyword("max", "MAX")])
                .token("AGGREGATE")
                .optional(),
            keyword("withscores", "WITHSCORES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zunion)),
    command("zunionstore", -4, Group::SortedSet, "2.0.0")
        .summary("Stores the members of any of the sorted sets.")
        .complexity(
            "O(N)+O(M*log(M)), N being the number of members of all sets and M the size of \
             the result",
        )
        .flags(WRITE | DENYOOM | MOVABLEKEYS)
        .acl(Categories::SORTEDSET)
        .keys(&[index_key(OW | UPDATE, 1), counted_keys(RO | ACCESS, 2, 1)])
        .arguments(&[
            key("destination", 0),
            integer("numkeys"),
            key("key", 1).multiple(),
            integer("weight").token("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[keyword("sum", "SUM"), keyword("min", "MIN"), keyword("max", "MAX")])
                .token("AGGREGATE")
                .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(algebra::zunionstore)),
];
