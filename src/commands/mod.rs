//! The command table and the command families. A stranger finds any command in two hops: its row in the table,
//! then the function the row names.

pub mod acl;
pub mod argument;
pub mod argument_values;
pub mod bitmap;
pub mod check;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod collection_scan;
pub mod connection;
pub mod context;
pub mod debug_views;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod help;
pub mod hyperloglog;
pub mod introspection;
pub mod key_spec;
pub mod keys;
pub mod list;
pub mod lolwut;
pub mod memory_usage;
pub mod refusals;
pub mod sampling;
pub mod set;
pub mod sort;
pub mod sorted_set;
pub mod spec;
pub mod stream;
pub mod strings;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod waiting;

pub use context::{CommandError, Context};
pub use table::{COMMAND_COUNT, Command, Table, table};

/// A command that runs in the engine: reads its arguments and the keyspace from the context, writes its reply there.
pub type EngineFn = fn(&mut Context<'_>) -> Result<(), CommandError>;

/// Who executes a command.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Known from the reference server but not built yet: not listed, answers `ERR unknown command`.
    Missing,
    /// Only dispatches to its subcommands.
    Container,
    /// Pure computation over the client's session and the keyspace, run by a shard.
    Engine(EngineFn),
    /// MULTI and its kin: run by the executor, which has the client's queue and the watched keys.
    Transaction,
    /// Scripts and functions: run by the executor, which has a Lua machine.
    Script,
    /// Needs server state that belongs to actors (clients, configuration, other shards' figures); run by the connection.
    Server,
}
