//! What the configuration says of the node.

use skuld::cluster::Announced;
use skuld::cluster::machine::{DebugHooks, Settings};
use skuld::config::{Config, LogLevel};

/// Client ports beyond this one leave no room for the bus 10,000 ports above.
pub const CLIENT_PORT_MAX: u16 = 55_535;

/// The port the bus listens on.
pub fn bus_port(config: &Config) -> u16 {
    match config.cluster_port {
        0 => client_port(config).saturating_add(10_000),
        port => port,
    }
}

fn client_port(config: &Config) -> u16 {
    if config.tls_cluster { config.tls_port } else { config.port }
}

/// Whether the node can have a bus at all.
///
/// # Errors
/// The text to log.
pub fn check(config: &Config) -> Result<(), String> {
    if config.cluster_port == 0 && client_port(config) > CLIENT_PORT_MAX {
        let kind = if config.tls_cluster { "TLS" } else { "TCP" };
        return Err(format!(
            "{kind} port number too high. Cluster communication port is 10,000 port numbers higher than your {kind} \
             port. Your {kind} port number must be 55535 or less."
        ));
    }
    if config.bind.is_empty() {
        return Err("No bind address is configured, but it is required for the Cluster bus.".to_owned());
    }
    Ok(())
}

/// The settings of the machine.
pub fn settings_of(config: &Config, debug: DebugHooks) -> Settings {
    let or = |announced: u16, own: u16| if announced == 0 { own } else { announced };
    let text = |text: &skuld::config::Text| text.to_str().into_owned();
    // A text that would make the others' files unreadable is not announced.
    let zone = text(&config.availability_zone);
    let zone = if skuld::cluster::config_file::is_safe_text(&zone) { zone } else { String::new() };
    Settings {
        node_timeout: config.cluster_node_timeout.min(i64::MAX as u64 / 1000) as i64,
        ping_interval: config.cluster_ping_interval.min(i64::MAX as u64 / 1000) as i64,
        gossip_percent: config.cluster_message_gossip_perc,
        announce_ip: text(&config.cluster_announce_ip),
        tcp_port: or(config.cluster_announce_port, config.port),
        tls_port: or(config.cluster_announce_tls_port, config.tls_port),
        cport: or(config.cluster_announce_bus_port, bus_port(config)),
        tls_cluster: config.tls_cluster,
        announced: Announced {
            hostname: text(&config.cluster_announce_hostname),
            human_name: text(&config.cluster_announce_human_nodename),
            availability_zone: zone,
            client_ipv4: text(&config.cluster_announce_client_ipv4),
            client_ipv6: text(&config.cluster_announce_client_ipv6),
            client_port: config.cluster_announce_client_port,
            client_tls_port: config.cluster_announce_client_tls_port,
        },
        replica_validity_factor: i64::from(config.cluster_replica_validity_factor),
        migration_barrier: config.cluster_migration_barrier as usize,
        allow_replica_migration: config.cluster_allow_replica_migration,
        require_full_coverage: config.cluster_require_full_coverage,
        no_failover: config.cluster_replica_no_failover,
        manual_failover_timeout: i64::from(config.cluster_manual_failover_timeout),
        blacklist_ttl_s: config.cluster_blacklist_ttl,
        replica_ping_period_s: config.repl_ping_replica_period as i64,
        logs_packets: config.loglevel == LogLevel::Debug,
        debug,
    }
}
