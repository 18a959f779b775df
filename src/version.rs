//! The one place for the versions the server reports.

/// The Valkey release whose behaviour, wire formats and files the server follows.
pub const VERSION: &str = "9.1.2";

/// The Redis release that clients which look at `redis_version` are told (spec: process contract, section 3).
pub const REDIS_VERSION: &str = "7.2.4";
