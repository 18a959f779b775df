//! Tests a command must pass where it executes, one file each, in the order in which [`crate::executor`] makes them.

pub mod cluster;
pub mod disk;
pub mod loading;
pub mod role;

use std::sync::atomic::Ordering;

use crate::server::Server;

/// Whether the server's state is such that some commands are refused, apart from its role: asked once for many
/// commands, none of which then needs to be looked at.
pub fn may_refuse(server: &Server) -> bool {
    let persistence = &server.persistence;
    persistence.last_save_failed.load(Ordering::Relaxed)
        || persistence.aof.has_failed()
        || persistence.is_loading()
        || persistence.is_async_loading()
        || server.shutting_down.load(Ordering::Relaxed)
        || server.scripts.any_timed_out()
}
