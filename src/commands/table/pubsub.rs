//! Publish/subscribe commands.

use crate::commands::spec::*;
use crate::commands::{Handler, help};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("psubscribe", -2, Group::Pubsub, "2.0.0")
        .summary("Subscribes to the channels that match patterns.")
        .complexity("O(N), N being the number of patterns")
        .flags(PUBSUB | NOSCRIPT | LOADING | STALE)
        .arguments(&[pattern("pattern").multiple()])
        .handler(Handler::Server),
    command("publish", 3, Group::Pubsub, "2.0.0")
        .summary("Sends a message to a channel.")
        .complexity(
            "O(N+M), N being the number of subscribers and M the number of patterns anyone \
             subscribed to",
        )
        .flags(PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE)
        .arguments(&[string("channel"), string("message")])
        .handler(Handler::Server),
    command("pubsub", -2, Group::Pubsub, "2.8.0")
        .summary("Groups the commands that describe channels.")
        .complexity("Depends on subcommand.")
        .subcommands(&PUBSUB_SUBCOMMANDS)
        .handler(Handler::Container),
    command("punsubscribe", -1, Group::Pubsub, "2.0.0")
        .summary("Ends subscriptions to patterns.")
        .complexity("O(N), N being the number of patterns")
        .flags(PUBSUB | NOSCRIPT | LOADING | STALE)
        .arguments(&[pattern("pattern").optional().multiple()])
        .handler(Handler::Server),
    command("spublish", 3, Group::Pubsub, "7.0.0")
        .summary("Sends a message to a shard channel.")
        .complexity("O(N), N being the number of subscribers")
        .flags(PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE)
        .keys(&[index_key(NOT_KEY, 1)])
        .arguments(&[string("shardchannel"), string("message")])
        .scope(Scope::Keys)
        .handler(Handler::Server),
    command("ssubscribe", -2, Group::Pubsub, "7.0.0")
        .summary("Subscribes to shard channels.")
        .complexity("O(N), N being the number of shard channels")
        .flags(PUBSUB | NOSCRIPT | LOADING | STALE)
        .keys(&[index_range(NOT_KEY, 1, -1, 1)])
        .arguments(&[string("shardchannel").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Server),
    command("subscribe", -2, Group::Pubsub, "2.0.0")
        .summary("Subscribes to channels.")
        .complexity("O(N), N being the number of channels")
        .flags(PUBSUB | NOSCRIPT | LOADING | STALE)
        .arguments(&[string("channel").multiple()])
        .handler(Handler::Server),
    command("sunsubscribe", -1, Group::Pubsub, "7.0.0")
        .summary("Ends subscriptions to shard channels.")
        .complexity("O(N), N being the number of shard channels")
        .flags(PUBSUB | NOSCRIPT | LOADING | STALE)
        .keys(&[index_range(NOT_KEY, 1, -1, 1)])
        .arguments(&[string("shardchannel").optional().multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Server),
    command("unsubscribe", -1, Group::Pubsub, "2.0.0")
        .summary("Ends subscriptions to channels.")
        .complexity("O(N), N being the number of channels")
        .flags(PUBSUB | NOSCRIPT | LOADING | STALE)
        .arguments(&[string("channel").optional().multiple()])
        .handler(Handler::Server),
];

static PUBSUB_SUBCOMMANDS: [CommandSpec; 6] = [
    command("pubsub|channels", -2, Group::Pubsub, "2.8.0")
        .summary("Lists channels that have subscribers.")
        .complexity("O(N), N being the number of channels")
        .flags(PUBSUB | LOADING | STALE)
        .arguments(&[pattern("pattern").optional()])
        .handler(Handler::Server),
    command("pubsub|help", 2, Group::Pubsub, "6.2.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("pubsub|numpat", 2, Group::Pubsub, "2.8.0")
        .summary("Counts the patterns that have subscribers.")
        .complexity("O(1)")
        .flags(PUBSUB | LOADING | STALE)
        .handler(Handler::Server),
    command("pubsub|numsub", -2, Group::Pubsub, "2.8.0")
        .summary("Counts the subscribers of channels.")
        .complexity("O(N), N being the number of channels asked for")
        .flags(PUBSUB | LOADING | STALE)
        .arguments(&[string("channel").optional().multiple()])
        .handler(Handler::Server),
    command("pubsub|shardchannels", -2, Group::Pubsub, "7.0.0")
        .summary("Lists shard channels that have subscribers.")
        .complexity("O(N), N being the number of shard channels")
        .flags(PUBSUB | LOADING | STALE)
        .arguments(&[pattern("pattern").optional()])
        .handler(Handler::Server),
    command("pubsub|shardnumsub", -2, Group::Pubsub, "7.0.0")
        .summary("Counts the subscribers of shard channels.")
        .complexity("O(N), N being the number of shard channels asked for")
        .flags(PUBSUB | LOADING | STALE)
        .arguments(&[string("shardchannel").optional().multiple()])
        .handler(Handler::Server),
];
