//! Tests a command must pass where it executes, one file each, in the order in which [`crate::executor`] makes them.

pub mod cluster;
pub mod disk;
pub mod loading;
pub mod role;
