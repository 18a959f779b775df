//! Settings that follow from several directives.

use super::load::Source;
use super::table::Config;

impl Config {
    /// The number of worker threads asked for by `worker-threads` or, if that is not given, by `io-threads`; `None`
    /// to choose by the number of CPUs.
    pub fn requested_workers(&self) -> Option<u32> {
        let by_io_threads = || (self.sources.of("io-threads") != Source::Default).then_some(self.io_threads);
        self.worker_threads.or_else(by_io_threads)
    }

    /// Number of databases of this server.
    pub fn database_count(&self) -> u32 {
        if self.cluster_enabled { self.cluster_databases } else { self.databases }
    }

    /// Bytes all clients together may use, a share of `maxmemory` worked out; 0 for no limit.
    pub fn client_memory_limit(&self) -> u64 {
        match u64::try_from(self.maxmemory_clients) {
            Ok(bytes) => bytes,
            Err(_) => {
                let share = u128::from(self.maxmemory_clients.unsigned_abs());
                // A share is at most 100 %.
                u64::try_from(u128::from(self.maxmemory) * share / 100).unwrap_or(u64::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_memory() {
        let config =
            |maxmemory, maxmemory_clients| Config { maxmemory, maxmemory_clients, ..Config::default() };
        assert_eq!(config(1000, -5).client_memory_limit(), 50);
        assert_eq!(config(0, -5).client_memory_limit(), 0);
        assert_eq!(config(u64::MAX, -100).client_memory_limit(), u64::MAX);
        assert_eq!(config(1000, 7).client_memory_limit(), 7);
    }

    #[test]
    fn databases_of_a_cluster_node() {
        assert_eq!(Config::default().database_count(), 16);
        assert_eq!(Config { cluster_enabled: true, ..Config::default() }.database_count(), 1);
    }
}
