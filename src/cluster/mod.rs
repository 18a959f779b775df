//! A node of a Valkey 9.1 cluster, as a pure state machine: packets, timers and commands in; packets, changes and
//! wishes out. Who runs it (the `Gossip` actor, or a simulation of many nodes) passes the time and performs the outputs.
//!
//! - [`packet`]: the bytes of the bus
//! - [`config_file`]: the bytes of `nodes.conf`
//! - [`machine`]: the state machine
//! - [`topology`]: the snapshot that everything outside looks at
//! - [`redirect`]: whether a command may run here, and where else it should go
//! - [`describe`]: what CLUSTER NODES, SLOTS, SHARDS and INFO say
//! - `simulation`: many nodes on a bad network, for tests
//!
//! All facts are those of spec page cluster-bus.md.

pub mod bitmap;
pub mod config_file;
pub mod describe;
pub mod id;
pub mod machine;
pub mod node;
pub mod packet;
pub mod redirect;
pub mod simulation;
pub mod topology;

pub use bitmap::SlotBitmap;
pub use id::NodeId;
pub use machine::{Machine, Output};
pub use node::{Announced, LinkId, Node, NodeIndex};
pub use topology::{ClusterState, Role, Topology, TopologyNode};
