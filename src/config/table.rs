//! The table of all directives: the one source for fields, defaults, parsing, CONFIG GET, SET and REWRITE,
//! `valkey.conf` and the compatibility page. It is long because it is data; read it like one.
//!
//! A row is
//! ```text
//! /// what it does, in the words of valkey.conf
//! field: type = default, "name" | "alias", kind(bounds), [FLAGS], effect;
//! ```
//! After a change, run `cargo test -p skuld --lib regenerate_documents -- --ignored`.
//!
//! Names, bounds, flags and defaults are those of Valkey 9.1.2, read off the running server.

use super::checks;
use super::choices::*;
use super::directive::*;
use super::load::Sources;
use super::special::{self, BufferLimit, PrimaryAddress};
use super::text::Text;
use std::collections::HashMap;
use std::sync::LazyLock;

const HONOURED: Effect = Effect::Honoured;

const fn no_effect(reason: &'static str) -> Effect {
    Effect::NoEffect(reason)
}

const NO_RDMA: Effect = no_effect("there is no RDMA transport");
const NO_FORK: Effect =
    no_effect("snapshots and rewrites run inside the process, there is no child to place");
const NO_DEFRAG: Effect = no_effect("the allocator cannot be asked which blocks are worth moving");
const NO_IO_THREADS: Effect = no_effect("I/O happens on the worker threads themselves");
const NO_COPY_TUNING: Effect = no_effect("replies are built differently, there is no copy to avoid");

/// The accessors of a row, made from its field.
macro_rules! kind {
    (bool, $field:ident, $ty:ty) => {
        Kind::Bool { get: |config| config.$field, set: |config, value| config.$field = value }
    };
    (number, $field:ident, $ty:ty, $low:expr, $high:expr) => {
        kind!(@number Plain, $field, $ty, $low, $high)
    };
    (memory, $field:ident, $ty:ty, $low:expr, $high:expr) => {
        kind!(@number Memory, $field, $ty, $low, $high)
    };
    (share, $field:ident, $ty:ty, $low:expr, $high:expr) => {
        kind!(@number MemoryOrPercent, $field, $ty, $low, $high)
    };
    (signed_memory, $field:ident, $ty:ty, $low:expr, $high:expr) => {
        kind!(@number SignedMemory, $field, $ty, $low, $high)
    };
    (octal, $field:ident, $ty:ty, $low:expr, $high:expr) => {
        kind!(@number Octal, $field, $ty, $low, $high)
    };
    // The bounds lie within the field's type, so the conversion cannot cut anything off.
    (@number $form:ident, $field:ident, $ty:ty, $low:expr, $high:expr) => {
        Kind::Number {
            form: NumberForm::$form,
            low: $low as i128,
            high: $high as i128,
            get: |config| i128::from(config.$field),
            set: |config, value| config.$field = value as $ty,
        }
    };
    // Accepts the bounds, keeps what is between `$least` and `$most`.
    (clamped, $field:ident, $ty:ty, $low:expr, $high:expr, $least:expr, $most:expr) => {
        Kind::Number {
            form: NumberForm::Plain,
            low: $low as i128,
            high: $high as i128,
            get: |config| i128::from(config.$field),
            set: |config, value| config.$field = value.clamp($least, $most) as $ty,
        }
    };
    (at_least, $field:ident, $ty:ty, $low:expr, $high:expr, $least:expr) => {
        Kind::Number {
            form: NumberForm::Memory,
            low: $low as i128,
            high: $high as i128,
            get: |config| i128::from(config.$field),
            set: |config, value| config.$field = value.max($least) as $ty,
        }
    };
    (choice, $field:ident, $ty:ty) => {
        Kind::Choice {
            names: || <$ty as Choice>::NAMES.iter().map(|(name, _)| *name).collect(),
            get: |config| config.$field.name(),
            set: |config, word| match <$ty as Choice>::from_name(word) {
                Some(value) => {
                    config.$field = value;
                    true
                }
                None => false,
            },
        }
    };
    (text, $field:ident, $ty:ty $(, $check:expr)?) => {
        kind!(@text $field, up_to_nul, false $(, $check)?)
    };
    (optional, $field:ident, $ty:ty $(, $check:expr)?) => {
        kind!(@text $field, up_to_nul, true $(, $check)?)
    };
    (bytes, $field:ident, $ty:ty $(, $check:expr)?) => {
        kind!(@text $field, from, false $(, $check)?)
    };
    (optional_bytes, $field:ident, $ty:ty $(, $check:expr)?) => {
        kind!(@text $field, from, true $(, $check)?)
    };
    (@text $field:ident, $make:ident, $optional:expr) => {
        Kind::Text {
            get: |config| &config.$field,
            set: |config, value| config.$field = Text::$make(value),
            check: None,
            optional: $optional,
        }
    };
    (@text $field:ident, $make:ident, $optional:expr, $check:expr) => {
        Kind::Text {
            get: |config| &config.$field,
            set: |config, value| config.$field = Text::$make(value),
            check: Some($check),
            optional: $optional,
        }
    };
    (special, $field:ident, $ty:ty, $special:expr) => {
        Kind::Special(&$special)
    };
}

macro_rules! alias {
    () => {
        None
    };
    ($alias:literal) => {
        Some($alias)
    };
}

macro_rules! directives {
    ($($topic:literal { $(
        $(#[doc = $doc:literal])+
        $field:ident : $ty:ty = $default:expr, $name:literal $(| $alias:literal)?,
            $kind:ident $(($($bound:expr),*))?, [$($flag:ident)*], $effect:expr;
    )* })*) => {
        /// All settings of the server, one field per directive. Actors share it as an immutable snapshot, so that
        /// reading a setting is loading a field.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($( $(#[doc = $doc])+ pub $field: $ty, )*)*
            /// Whether `maxmemory auto` was asked for; whoever knows the container's limit then sets `maxmemory`.
            pub maxmemory_auto: bool,
            /// Bytes from which a list element gets a node of its own; 0 for the rule of the node sizes. No directive:
            /// DEBUG QUICKLIST-PACKED-THRESHOLD sets it.
            pub quicklist_packed_threshold: usize,
            /// Whether checksums of serialized values and RDB files are taken for right. No directive: DEBUG
            /// SET-SKIP-CHECKSUM-VALIDATION sets it.
            pub skip_checksums: bool,
            /// The words after `user`, one entry per line: name, then ACL rules.
            pub users: Vec<Vec<Text>>,
            /// `rename-command`: old and new name; an empty new name removes the command.
            pub renamed_commands: Vec<(Text, Text)>,
            /// Where each directive's value came from.
            pub sources: Sources,
        }

        impl Default for Config {
            fn default() -> Config {
                Config {
                    $($( $field: $default, )*)*
                    maxmemory_auto: false,
                    quicklist_packed_threshold: 0,
                    skip_checksums: false,
                    users: Vec::new(),
                    renamed_commands: Vec::new(),
                    sources: Sources::default(),
                }
            }
        }

        /// Every directive, grouped by topic.
        pub static TABLE: &[Directive] = &[$($(
            Directive {
                name: $name,
                alias: alias!($($alias)?),
                topic: $topic,
                about: &[$($doc),+],
                flags: Flags::NONE$(.with(Flags::$flag))*,
                kind: kind!($kind, $field, $ty $($(, $bound)*)?),
                effect: $effect,
            },
        )*)*];
    };
}

const INT_MAX: i64 = i32::MAX as i64;
const MB: u64 = 1 << 20;

directives! {
    "Network" {
        /// Addresses to listen on. `*` and `::*` are all IPv4 and IPv6 addresses; a leading `-` means that it is no
        /// error if this machine does not have the address.
        bind: Vec<Text> = vec!["*".into(), "-::*".into()], "bind", special(special::BIND), [MULTI], HONOURED;
        /// The address outgoing connections (to a primary, to other nodes) come from.
        bind_source_addr: Text = Text::default(), "bind-source-addr", optional, [], HONOURED;
        /// TCP port for clients; 0 to not listen on TCP.
        port: u16 = 6379, "port", number(0, u16::MAX), [], HONOURED;
        /// Refuse clients from other machines while the default user has no password.
        protected_mode: bool = true, "protected-mode", bool, [], HONOURED;
        /// How many connections the kernel may queue before they are accepted.
        tcp_backlog: u32 = 511, "tcp-backlog", number(0, INT_MAX), [IMMUTABLE], HONOURED;
        /// Seconds between TCP keepalive probes to clients; 0 for none.
        tcp_keepalive: u32 = 300, "tcp-keepalive", number(0, INT_MAX), [], HONOURED;
        /// Close clients that sent nothing for so many seconds; 0 for never.
        timeout: u32 = 0, "timeout", number(0, INT_MAX), [], HONOURED;
        /// Path of a unix socket for clients; none if empty.
        unixsocket: Text = Text::default(), "unixsocket", optional, [IMMUTABLE], HONOURED;
        /// Group that owns the unix socket.
        unixsocketgroup: Text = Text::default(), "unixsocketgroup", optional, [IMMUTABLE], HONOURED;
        /// Permission bits of the unix socket, in octal; 0 leaves them to the umask.
        unixsocketperm: u32 = 0, "unixsocketperm", octal(0, 0o777), [IMMUTABLE], HONOURED;
        /// Use Multipath TCP for clients where the kernel has it.
        mptcp: bool = false, "mptcp", bool, [IMMUTABLE], HONOURED;
        /// Mark (SO_MARK) on listening sockets, for routing and firewalls; 0 for none.
        socket_mark_id: u32 = 0, "socket-mark-id", number(0, u32::MAX), [IMMUTABLE], HONOURED;
        /// Plain connections accepted per turn of the event loop.
        max_new_connections_per_cycle: u32 = 10, "max-new-connections-per-cycle", number(1, 1000), [], HONOURED;
        /// TLS connections accepted per turn of the event loop.
        max_new_tls_connections_per_cycle: u32 = 1, "max-new-tls-connections-per-cycle", number(1, 1000), [], HONOURED;
        /// RDMA addresses to listen on.
        rdma_bind: Vec<Text> = Vec::new(), "rdma-bind", special(special::RDMA_BIND), [MULTI], NO_RDMA;
        /// RDMA port; 0 for none.
        rdma_port: u16 = 0, "rdma-port", number(0, u16::MAX), [], NO_RDMA;
        /// RDMA receive buffer per connection, in bytes.
        rdma_rx_size: u32 = 1048576, "rdma-rx-size", number(65536, 16777216), [IMMUTABLE], NO_RDMA;
        /// RDMA completion vector; -1 for any.
        rdma_completion_vector: i32 = -1, "rdma-completion-vector", number(-1, 1024), [IMMUTABLE], NO_RDMA;
    }

    "TLS" {
        /// Port for TLS clients; 0 for none.
        tls_port: u16 = 0, "tls-port", number(0, u16::MAX), [], HONOURED;
        /// The server's certificate (PEM).
        tls_cert_file: Text = Text::default(), "tls-cert-file", optional, [VOLATILE], HONOURED;
        /// The private key of `tls-cert-file` (PEM).
        tls_key_file: Text = Text::default(), "tls-key-file", optional, [VOLATILE], HONOURED;
        /// Passphrase of `tls-key-file`.
        tls_key_file_pass: Text = Text::default(), "tls-key-file-pass", optional, [SENSITIVE], HONOURED;
        /// Certificate for connections this server opens; empty to use `tls-cert-file`.
        tls_client_cert_file: Text = Text::default(), "tls-client-cert-file", optional, [VOLATILE], HONOURED;
        /// The private key of `tls-client-cert-file`.
        tls_client_key_file: Text = Text::default(), "tls-client-key-file", optional, [VOLATILE], HONOURED;
        /// Passphrase of `tls-client-key-file`.
        tls_client_key_file_pass: Text = Text::default(), "tls-client-key-file-pass", optional, [SENSITIVE], HONOURED;
        /// Diffie-Hellman parameters for old clients.
        tls_dh_params_file: Text = Text::default(), "tls-dh-params-file", optional, [VOLATILE],
            no_effect("only elliptic-curve key exchange is offered");
        /// Certificates of the authorities that peers are checked against, in one file.
        tls_ca_cert_file: Text = Text::default(), "tls-ca-cert-file", optional, [VOLATILE], HONOURED;
        /// The same as a directory of files.
        tls_ca_cert_dir: Text = Text::default(), "tls-ca-cert-dir", optional, [VOLATILE], HONOURED;
        /// Must clients show a certificate: yes, no, optional.
        tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes, "tls-auth-clients", choice, [], HONOURED;
        /// Log clients in as the user their certificate names, in its CN or URI field; off to not do so.
        tls_auth_clients_user: TlsAuthClientsUser = TlsAuthClientsUser::Off, "tls-auth-clients-user", choice, [], HONOURED;
        /// Speak TLS to the primary.
        tls_replication: bool = false, "tls-replication", bool, [], HONOURED;
        /// Speak TLS on the cluster bus.
        tls_cluster: bool = false, "tls-cluster", bool, [], HONOURED;
        /// Protocol versions to accept, for instance "TLSv1.2 TLSv1.3"; empty for the default.
        tls_protocols: Text = Text::default(), "tls-protocols", optional, [], HONOURED;
        /// Cipher list for TLS 1.2, in OpenSSL's notation.
        tls_ciphers: Text = Text::default(), "tls-ciphers", optional, [], HONOURED;
        /// Cipher suites for TLS 1.3.
        tls_ciphersuites: Text = Text::default(), "tls-ciphersuites", optional, [], HONOURED;
        /// Choose the cipher by the server's order instead of the client's.
        tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", bool, [], HONOURED;
        /// Let clients resume TLS sessions.
        tls_session_caching: bool = true, "tls-session-caching", bool, [], HONOURED;
        /// How many sessions are remembered for resumption; 0 for no limit.
        tls_session_cache_size: u32 = 20480, "tls-session-cache-size", number(0, INT_MAX), [], HONOURED;
        /// Seconds for which a session can be resumed.
        tls_session_cache_timeout: u32 = 300, "tls-session-cache-timeout", number(0, INT_MAX), [], HONOURED;
        /// Seconds between looks for new certificate files; 0 for never.
        tls_auto_reload_interval: u32 = 0, "tls-auto-reload-interval", number(0, INT_MAX), [], HONOURED;
    }

    "Process" {
        /// Run in the background.
        daemonize: bool = false, "daemonize", bool, [IMMUTABLE], HONOURED;
        /// Tell a supervisor when the server is ready: upstart, systemd, auto (by its environment variables), no.
        supervised: Supervised = Supervised::No, "supervised", choice, [IMMUTABLE], HONOURED;
        /// File that holds the process id while the server runs.
        pidfile: Text = Text::default(), "pidfile", optional, [IMMUTABLE], HONOURED;
        /// Least severe messages to log: debug, verbose, notice, warning, nothing.
        loglevel: LogLevel = LogLevel::Notice, "loglevel", choice, [], HONOURED;
        /// File to log to; empty for standard output.
        logfile: Text = Text::default(), "logfile", text, [IMMUTABLE], HONOURED;
        /// Shape of log lines: legacy, logfmt, json.
        log_format: LogFormat = LogFormat::Legacy, "log-format", choice, [], HONOURED;
        /// Shape of times in the log: legacy, iso8601, milliseconds.
        log_timestamp_format: LogTimestampFormat = LogTimestampFormat::Legacy, "log-timestamp-format", choice, [], HONOURED;
        /// Also log to syslog.
        syslog_enabled: bool = false, "syslog-enabled", bool, [IMMUTABLE], HONOURED;
        /// The name messages carry in syslog.
        syslog_ident: Text = "valkey".into(), "syslog-ident", text, [IMMUTABLE], HONOURED;
        /// The syslog facility: user, local0 to local7.
        syslog_facility: SyslogFacility = SyslogFacility::Local0, "syslog-facility", choice, [IMMUTABLE], HONOURED;
        /// Print the banner even if standard output is not a terminal.
        always_show_logo: bool = false, "always-show-logo", bool, [IMMUTABLE], HONOURED;
        /// Change the process title as `proc-title-template` says.
        set_proc_title: bool = true, "set-proc-title", bool, [IMMUTABLE], HONOURED;
        /// The process title. Variables: title, listen-addr, server-mode, port, tls-port, unixsocket, config-file.
        proc_title_template: Text = "{title} {listen-addr} {server-mode}".into(), "proc-title-template",
            text(checks::proc_title_template), [], HONOURED;
        /// Locale by which SORT ALPHA orders: those that order by bytes.
        locale_collate: Text = Text::default(), "locale-collate", text(checks::locale_collate), [], HONOURED;
        /// Number of databases.
        databases: u32 = 16, "databases", number(1, INT_MAX), [IMMUTABLE], HONOURED;
        /// The directory of data files; entered at start, must exist.
        dir: Text = "./".into(), "dir", special(special::DIR), [PROTECTED DENY_LOADING], HONOURED;
        /// How often per second background work looks for something to do (1 to 500).
        hz: u32 = 10, "hz", clamped(0, INT_MAX, 1, 500), [], HONOURED;
        /// Seconds a shutdown waits for replicas to catch up.
        shutdown_timeout: u32 = 10, "shutdown-timeout", number(0, INT_MAX), [], HONOURED;
        /// What SIGINT does: default (save if save points are set), or words of save, nosave, now, force, safe,
        /// failover.
        shutdown_on_sigint: ShutdownFlags = ShutdownFlags::default(), "shutdown-on-sigint",
            special(special::SHUTDOWN_ON_SIGINT), [MULTI], HONOURED;
        /// What SIGTERM does, in the same words.
        shutdown_on_sigterm: ShutdownFlags = ShutdownFlags::default(), "shutdown-on-sigterm",
            special(special::SHUTDOWN_ON_SIGTERM), [MULTI], HONOURED;
        /// Adjust the kernel's out-of-memory score: no, yes (alias relative), absolute.
        oom_score_adj: OomScoreAdj = OomScoreAdj::No, "oom-score-adj", choice, [], HONOURED;
        /// The scores of a primary, a replica, and a process that saves in the background.
        oom_score_adj_values: [i32; 3] = [0, 200, 800], "oom-score-adj-values",
            special(special::OOM_SCORE_ADJ_VALUES), [MULTI], HONOURED;
        /// Ask the kernel not to use transparent huge pages for this process.
        disable_thp: bool = true, "disable-thp", bool, [IMMUTABLE], HONOURED;
        /// CPUs for the worker threads, for instance "0-3,6".
        server_cpulist: Text = Text::default(), "server-cpulist" | "server_cpulist", optional, [IMMUTABLE], HONOURED;
        /// CPUs for the threads that do blocking work: files and freeing.
        bio_cpulist: Text = Text::default(), "bio-cpulist" | "bio_cpulist", optional, [IMMUTABLE], HONOURED;
        /// CPUs for the child process that rewrites the append-only file.
        aof_rewrite_cpulist: Text = Text::default(), "aof-rewrite-cpulist" | "aof_rewrite_cpulist", optional, [IMMUTABLE], NO_FORK;
        /// CPUs for the child process that saves a snapshot.
        bgsave_cpulist: Text = Text::default(), "bgsave-cpulist" | "bgsave_cpulist", optional, [IMMUTABLE], NO_FORK;
        /// Log a report when the server crashes.
        crash_log_enabled: bool = true, "crash-log-enabled", bool, [], HONOURED;
        /// Test the memory as part of that report.
        crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", bool, [],
            no_effect("the report does not test memory");
        /// Warnings at start that are known and should not keep the server from starting.
        ignore_warnings: Text = Text::default(), "ignore-warnings", text, [],
            no_effect("the kernel bug it is about is not checked for");
        /// Who may use DEBUG: no, yes, local (clients on this machine).
        enable_debug_command: ProtectedAction = ProtectedAction::No, "enable-debug-command", choice, [IMMUTABLE], HONOURED;
        /// Who may change protected settings (dir, dbfilename) by CONFIG SET: no, yes, local.
        enable_protected_configs: ProtectedAction = ProtectedAction::No, "enable-protected-configs", choice, [IMMUTABLE], HONOURED;
        /// Who may use MODULE: no, yes, local.
        enable_module_command: ProtectedAction = ProtectedAction::No, "enable-module-command", choice, [IMMUTABLE], HONOURED;
        /// Report the name and version an old client expects.
        extended_redis_compatibility: bool = false, "extended-redis-compatibility", bool, [], HONOURED;
        /// The zone this server runs in, as HELLO and INFO tell it.
        availability_zone: Text = Text::default(), "availability-zone", bytes, [], HONOURED;
        /// Keep keys and values out of the log.
        hide_user_data_from_log: bool = true, "hide-user-data-from-log", bool, [], HONOURED;
        /// Seed of the hash function of all tables; empty for a random one.
        hash_seed: Text = Text::default(), "hash-seed", optional_bytes(checks::hash_seed), [IMMUTABLE], HONOURED;
        /// Exit instead of aborting on an internal error.
        use_exit_on_panic: bool = false, "use-exit-on-panic", bool, [HIDDEN], HONOURED;
        /// Allow assertions that are for development.
        enable_debug_assert: bool = false, "enable-debug-assert", bool, [IMMUTABLE HIDDEN], HONOURED;
        /// Text to appear in a crash report.
        debug_context: Text = Text::default(), "debug-context", text, [DEBUG HIDDEN], HONOURED;
        /// Messages that hold a thread up for so many milliseconds are written to the log; 0 for off.
        watchdog_period: u32 = 0, "watchdog-period", number(0, INT_MAX), [HIDDEN], HONOURED;
    }

    "Threads" {
        /// Threads, each with one shard of the keys and its connections. auto: as many as usable CPUs, but one
        /// on 1 or 2 CPUs; if `io-threads` is given, its number.
        worker_threads: Option<u32> = None, "worker-threads", special(special::WORKER_THREADS), [IMMUTABLE OURS], HONOURED;
        /// Whether the commands of one pipeline take effect strictly in order (program), or may run at the same
        /// time where they touch different shards (relaxed). Replies are always in order.
        pipeline_order: PipelineOrder = PipelineOrder::Program, "pipeline-order", choice, [OURS], HONOURED;
        /// Number of threads; sets `worker-threads` if that is not given.
        io_threads: u32 = 1, "io-threads", number(1, 256), [DEBUG], HONOURED;
        /// Keep I/O threads running when there is little to do.
        io_threads_always_active: bool = false, "io-threads-always-active", bool, [HIDDEN], NO_IO_THREADS;
        /// Keys of a pipeline that are fetched into the cache together.
        prefetch_batch_max_size: u32 = 16, "prefetch-batch-max-size", number(0, 128), [],
            no_effect("batches are executed without a separate prefetch");
        /// I/O threads from which on replies are not copied.
        min_io_threads_avoid_copy_reply: u32 = 7, "min-io-threads-avoid-copy-reply", number(0, INT_MAX), [HIDDEN], NO_COPY_TUNING;
        /// Size of strings from which on replies are not copied.
        min_string_size_avoid_copy_reply: u32 = 16384, "min-string-size-avoid-copy-reply", number(0, INT_MAX), [HIDDEN], NO_COPY_TUNING;
        /// The same with I/O threads.
        min_string_size_avoid_copy_reply_threaded: u32 = 65536, "min-string-size-avoid-copy-reply-threaded",
            number(0, INT_MAX), [HIDDEN], NO_COPY_TUNING;
    }

    "Admin page" {
        /// Port of the HTTP page with health, metrics and traces; 0 for none.
        admin_port: u16 = 0, "admin-port", number(0, u16::MAX), [IMMUTABLE OURS], HONOURED;
        /// Addresses the admin page listens on.
        admin_bind: Vec<Text> = vec!["127.0.0.1".into()], "admin-bind", special(special::ADMIN_BIND), [IMMUTABLE MULTI OURS], HONOURED;
        /// Token that requests to the admin page must carry; empty for none.
        admin_token: Text = Text::default(), "admin-token", optional_bytes, [SENSITIVE OURS], HONOURED;
    }

    "Snapshots" {
        /// Save after so many seconds if at least so many keys changed; pairs, and lines add up. save "" for never.
        save: Vec<(u64, u64)> = vec![(3600, 1), (300, 100), (60, 10000)], "save", special(special::SAVE), [MULTI], HONOURED;
        /// Refuse writes while the last snapshot failed.
        stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", bool, [], HONOURED;
        /// Compress strings in snapshots.
        rdbcompression: bool = true, "rdbcompression", bool, [], HONOURED;
        /// Write and check a checksum at the end of snapshots.
        rdbchecksum: bool = true, "rdbchecksum", bool, [IMMUTABLE], HONOURED;
        /// Load snapshots of versions not known here: strict (no) or relaxed (try).
        rdb_version_check: RdbVersionCheck = RdbVersionCheck::Strict, "rdb-version-check", choice, [], HONOURED;
        /// Name of the snapshot file, in `dir`.
        dbfilename: Text = "dump.rdb".into(), "dbfilename", text(checks::dbfilename), [PROTECTED], HONOURED;
        /// Delete snapshots that only served replication.
        rdb_del_sync_files: bool = false, "rdb-del-sync-files", bool, [], HONOURED;
        /// Force a snapshot to the disk in steps while it is written.
        rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", bool, [], HONOURED;
        /// Microseconds to wait after each key when saving; for tests.
        rdb_key_save_delay: i32 = 0, "rdb-key-save-delay", number(i32::MIN, i32::MAX), [HIDDEN], HONOURED;
        /// Microseconds to wait after each key when loading; for tests.
        key_load_delay: i32 = 0, "key-load-delay", number(i32::MIN, i32::MAX), [HIDDEN], HONOURED;
        /// Bytes of loading after which other work gets a turn.
        loading_process_events_interval_bytes: i64 = 2097152, "loading-process-events-interval-bytes",
            number(1024, INT_MAX), [HIDDEN], HONOURED;
    }

    "Append-only file" {
        /// Write every change to an append-only file.
        appendonly: bool = false, "appendonly", bool, [DENY_LOADING], HONOURED;
        /// Base name of its files.
        appendfilename: Text = "appendonly.aof".into(), "appendfilename", text(checks::appendfilename), [IMMUTABLE], HONOURED;
        /// Directory of its files, in `dir`.
        appenddirname: Text = "appendonlydir".into(), "appenddirname", text(checks::appenddirname), [IMMUTABLE], HONOURED;
        /// When changes are forced to the disk: everysec, always (before the reply), no (when the kernel likes).
        appendfsync: AppendFsync = AppendFsync::EverySecond, "appendfsync", choice, [], HONOURED;
        /// Do not force to the disk while a rewrite or snapshot is being written.
        no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", bool, [], HONOURED;
        /// Rewrite when the file has grown by so many percent since the last rewrite; 0 for never.
        auto_aof_rewrite_percentage: u32 = 100, "auto-aof-rewrite-percentage", number(0, INT_MAX), [], HONOURED;
        /// But not while it is smaller than this.
        auto_aof_rewrite_min_size: i64 = 67108864, "auto-aof-rewrite-min-size", memory(0, i64::MAX), [], HONOURED;
        /// Load a file whose end is cut off.
        aof_load_truncated: bool = true, "aof-load-truncated", bool, [], HONOURED;
        /// Begin a rewritten file with a snapshot.
        aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", bool, [], HONOURED;
        /// Write times into the file, for recovery to a point in time.
        aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", bool, [], HONOURED;
        /// Force a rewrite to the disk in steps while it is written.
        aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", bool, [], HONOURED;
        /// Keep files that a rewrite made superfluous; for tests.
        aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", bool, [HIDDEN], HONOURED;
    }

    "Replication" {
        /// The primary to follow, host and port.
        replicaof: Option<PrimaryAddress> = None, "replicaof" | "slaveof", special(special::REPLICAOF), [IMMUTABLE MULTI], HONOURED;
        /// Password for the primary.
        primaryauth: Text = Text::default(), "primaryauth" | "masterauth", optional_bytes, [SENSITIVE], HONOURED;
        /// User for the primary; empty to send only the password.
        primaryuser: Text = Text::default(), "primaryuser" | "masteruser", optional, [SENSITIVE], HONOURED;
        /// Answer clients with old data while the link to the primary is down.
        replica_serve_stale_data: bool = true, "replica-serve-stale-data" | "slave-serve-stale-data", bool, [], HONOURED;
        /// Refuse writes of clients on a replica.
        replica_read_only: bool = true, "replica-read-only" | "slave-read-only", bool, [DEBUG], HONOURED;
        /// Do not evict on a replica; the primary's DELs do.
        replica_ignore_maxmemory: bool = true, "replica-ignore-maxmemory" | "slave-ignore-maxmemory", bool, [], HONOURED;
        /// Free the old data set of a replica in the background.
        replica_lazy_flush: bool = true, "replica-lazy-flush" | "slave-lazy-flush", bool, [], HONOURED;
        /// Order in which replicas are promoted, lowest first; 0 for never.
        replica_priority: u32 = 100, "replica-priority" | "slave-priority", number(0, INT_MAX), [], HONOURED;
        /// Address and port that a replica gives to its primary, when a network in between changes them.
        replica_announce_ip: Text = Text::default(), "replica-announce-ip" | "slave-announce-ip", optional, [], HONOURED;
        /// See `replica-announce-ip`; 0 for `port`.
        replica_announce_port: u16 = 0, "replica-announce-port" | "slave-announce-port", number(0, u16::MAX), [], HONOURED;
        /// Be listed by sentinels and ROLE.
        replica_announced: bool = true, "replica-announced", bool, [], HONOURED;
        /// Go on when the append-only file of a replica cannot be written.
        replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", bool, [], HONOURED;
        /// When a command from the primary or the append-only file fails: ignore, panic, panic-on-replicas.
        propagation_error_behavior: PropagationErrorBehavior = PropagationErrorBehavior::Ignore,
            "propagation-error-behavior", choice, [], HONOURED;
        /// Send full copies straight over the socket, without a file.
        repl_diskless_sync: bool = true, "repl-diskless-sync", bool, [DEBUG], HONOURED;
        /// Seconds to wait for more replicas before a full copy starts.
        repl_diskless_sync_delay: u32 = 5, "repl-diskless-sync-delay", number(0, INT_MAX), [], HONOURED;
        /// But start at once when so many wait; 0 for no such number.
        repl_diskless_sync_max_replicas: u32 = 0, "repl-diskless-sync-max-replicas", number(0, INT_MAX), [], HONOURED;
        /// How a replica loads a full copy: disabled (by a file), on-empty-db, swapdb, flush-before-load.
        repl_diskless_load: ReplDisklessLoad = ReplDisklessLoad::Disabled, "repl-diskless-load", choice, [DEBUG DENY_LOADING], HONOURED;
        /// Transfer a full copy on a connection of its own while the stream already flows.
        dual_channel_replication_enabled: bool = false, "dual-channel-replication-enabled", bool, [DEBUG], HONOURED;
        /// Delay small packets to replicas to save bandwidth.
        repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", bool, [], HONOURED;
        /// Use Multipath TCP for replication.
        repl_mptcp: bool = false, "repl-mptcp", bool, [IMMUTABLE], HONOURED;
        /// Seconds between pings to replicas.
        repl_ping_replica_period: u32 = 10, "repl-ping-replica-period" | "repl-ping-slave-period", number(1, INT_MAX), [], HONOURED;
        /// Seconds without a sign of life after which the link is down.
        repl_timeout: u32 = 60, "repl-timeout", number(1, INT_MAX), [], HONOURED;
        /// Bytes of the stream kept for replicas that come back (at least 16kb).
        repl_backlog_size: u64 = 10 * MB, "repl-backlog-size", at_least(1, i64::MAX, 16384), [], HONOURED;
        /// Seconds the backlog is kept when no replica is left; 0 for ever.
        repl_backlog_ttl: u64 = 3600, "repl-backlog-ttl", number(0, i64::MAX), [], HONOURED;
        /// Refuse writes unless so many replicas are up to date; 0 for no such rule.
        min_replicas_to_write: u32 = 0, "min-replicas-to-write" | "min-slaves-to-write", number(0, INT_MAX), [], HONOURED;
        /// Seconds since its last word for a replica to count as up to date.
        min_replicas_max_lag: u32 = 10, "min-replicas-max-lag" | "min-slaves-max-lag", number(0, INT_MAX), [], HONOURED;
        /// Bytes of forwarded changes and old values one running export (snapshot, full copy, slot migration) may
        /// hold before the writers that feed it are slowed.
        export_buffer_limit: u64 = 64 * MB, "export-buffer-limit", memory(MB, i64::MAX), [OURS], HONOURED;
        /// Let a client load data from another server: keys that expire stay until it deletes them.
        import_mode: bool = false, "import-mode", bool, [DEBUG], HONOURED;
        /// End import mode by itself when its last import source has been gone for so many seconds; 0 for never.
        import_mode_auto_end_seconds: u32 = 0, "import-mode-auto-end-seconds", number(0, INT_MAX), [OURS], HONOURED;
    }

    "Security" {
        /// Password of the default user; empty for none.
        requirepass: Text = Text::default(), "requirepass", optional_bytes, [SENSITIVE], HONOURED;
        /// File of users; instead of `user` lines here.
        aclfile: Text = Text::default(), "aclfile", text, [IMMUTABLE], HONOURED;
        /// Refusals that ACL LOG remembers.
        acllog_max_len: u64 = 128, "acllog-max-len", number(0, i64::MAX), [], HONOURED;
        /// Channels of new users: resetchannels (none), allchannels.
        acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, "acl-pubsub-default", choice, [], HONOURED;
    }

    "Clients" {
        /// Clients at the same time.
        maxclients: u32 = 10000, "maxclients", number(1, u32::MAX), [], HONOURED;
        /// Limits of unread output for a class of clients: normal, replica, pubsub. A client is closed above the hard
        /// limit, or when it stays above the soft limit for so many seconds; 0 for no limit.
        client_output_buffer_limit: [BufferLimit; 3] =
            [BufferLimit::new(0, 0, 0), BufferLimit::new(256 * MB, 64 * MB, 60), BufferLimit::new(32 * MB, 8 * MB, 60)],
            "client-output-buffer-limit", special(special::CLIENT_OUTPUT_BUFFER_LIMIT), [MULTI], HONOURED;
        /// Bytes of one client's unprocessed input.
        client_query_buffer_limit: u64 = 1024 * MB, "client-query-buffer-limit", memory(1048576, i64::MAX), [DEBUG], HONOURED;
        /// Bytes of one argument of a command.
        proto_max_bulk_len: u64 = 512 * MB, "proto-max-bulk-len", memory(1048576, i64::MAX), [DEBUG], HONOURED;
        /// Keys remembered for clients that cache.
        tracking_table_max_keys: u64 = 1000000, "tracking-table-max-keys", number(0, i64::MAX), [], HONOURED;
    }

    "Memory" {
        /// Memory for data, above which keys are evicted or writes refused; 0 for no limit, auto for a share of what
        /// the container may use.
        maxmemory: u64 = 0, "maxmemory", special(special::MAXMEMORY), [], HONOURED;
        /// What gives way when memory is full: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru,
        /// allkeys-lfu, allkeys-random, noeviction.
        maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction, "maxmemory-policy", choice, [], HONOURED;
        /// Keys looked at per choice of a victim (1 to 64).
        maxmemory_samples: u32 = 5, "maxmemory-samples", number(1, 64), [], HONOURED;
        /// How much time eviction may take per command, 0 (little) to 100 (as much as needed).
        maxmemory_eviction_tenacity: u32 = 10, "maxmemory-eviction-tenacity", number(0, 100), [], HONOURED;
        /// Memory of all clients together, above which the biggest are closed; a share of `maxmemory` if written 5%;
        /// 0 for no limit.
        maxmemory_clients: i64 = 0, "maxmemory-clients", share(-100, i64::MAX), [], HONOURED;
        /// How slowly the frequency counter of LFU saturates.
        lfu_log_factor: u32 = 10, "lfu-log-factor", number(0, INT_MAX), [], HONOURED;
        /// Minutes after which that counter is decremented; 0 for never.
        lfu_decay_time: u32 = 1, "lfu-decay-time", number(0, INT_MAX), [], HONOURED;
        /// How hard expired keys are looked for, 1 to 10.
        active_expire_effort: u32 = 1, "active-expire-effort", number(1, 10), [], HONOURED;
        /// Free evicted values in the background.
        lazyfree_lazy_eviction: bool = true, "lazyfree-lazy-eviction", bool, [DEBUG], HONOURED;
        /// Free expired values in the background.
        lazyfree_lazy_expire: bool = true, "lazyfree-lazy-expire", bool, [DEBUG], HONOURED;
        /// Free values that commands replace in the background.
        lazyfree_lazy_server_del: bool = true, "lazyfree-lazy-server-del", bool, [DEBUG], HONOURED;
        /// Let DEL be UNLINK.
        lazyfree_lazy_user_del: bool = true, "lazyfree-lazy-user-del", bool, [DEBUG], HONOURED;
        /// Let FLUSHALL, FLUSHDB, SCRIPT FLUSH and FUNCTION FLUSH be asynchronous unless told otherwise.
        lazyfree_lazy_user_flush: bool = true, "lazyfree-lazy-user-flush", bool, [DEBUG], HONOURED;
        /// Move on with resizing tables while idle.
        activerehashing: bool = true, "activerehashing", bool, [], HONOURED;
        /// Let the allocator give memory back on a thread of its own.
        jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", bool, [], HONOURED;
        /// Move values together to win back fragmented memory.
        activedefrag: bool = false, "activedefrag", bool, [DEBUG], NO_DEFRAG;
        /// Fragmented bytes below which nothing is moved.
        active_defrag_ignore_bytes: u64 = 100 * MB, "active-defrag-ignore-bytes", memory(1, i64::MAX), [], NO_DEFRAG;
        /// Percent of fragmentation at which moving starts.
        active_defrag_threshold_lower: u32 = 10, "active-defrag-threshold-lower", number(0, 1000), [], NO_DEFRAG;
        /// Percent of fragmentation at which it gets all the effort.
        active_defrag_threshold_upper: u32 = 100, "active-defrag-threshold-upper", number(0, 1000), [], NO_DEFRAG;
        /// Percent of CPU at the lower threshold.
        active_defrag_cycle_min: u32 = 1, "active-defrag-cycle-min", number(1, 99), [], NO_DEFRAG;
        /// Percent of CPU at the upper threshold.
        active_defrag_cycle_max: u32 = 25, "active-defrag-cycle-max", number(1, 99), [], NO_DEFRAG;
        /// Microseconds of one stretch of moving.
        active_defrag_cycle_us: u32 = 500, "active-defrag-cycle-us", number(0, 100000), [], NO_DEFRAG;
        /// Elements of a collection above which it is moved in steps.
        active_defrag_max_scan_fields: u64 = 1000, "active-defrag-max-scan-fields", number(1, i64::MAX), [], NO_DEFRAG;
    }

    "Encodings" {
        /// Entries up to which a hash is kept as one compact listpack.
        hash_max_listpack_entries: u64 = 512, "hash-max-listpack-entries" | "hash-max-ziplist-entries", number(0, i64::MAX), [], HONOURED;
        /// Bytes of a field or value up to which it is.
        hash_max_listpack_value: u64 = 64, "hash-max-listpack-value" | "hash-max-ziplist-value", memory(0, i64::MAX), [], HONOURED;
        /// Size of a node of a list: elements, or -1 to -5 for 4, 8, 16, 32, 64 KiB.
        list_max_listpack_size: i32 = -2, "list-max-listpack-size" | "list-max-ziplist-size", number(i32::MIN, i32::MAX), [], HONOURED;
        /// Nodes at both ends of a list that are not compressed; 0 to compress none.
        list_compress_depth: u32 = 0, "list-compress-depth", number(0, INT_MAX), [DEBUG], HONOURED;
        /// Elements up to which a set of integers is kept as an array.
        set_max_intset_entries: u64 = 512, "set-max-intset-entries", number(0, i64::MAX), [], HONOURED;
        /// Elements up to which a set is kept as a listpack.
        set_max_listpack_entries: u64 = 128, "set-max-listpack-entries", number(0, i64::MAX), [], HONOURED;
        /// Bytes of an element up to which it is.
        set_max_listpack_value: u64 = 64, "set-max-listpack-value", number(0, i64::MAX), [], HONOURED;
        /// Entries up to which a sorted set is kept as a listpack.
        zset_max_listpack_entries: u64 = 128, "zset-max-listpack-entries" | "zset-max-ziplist-entries", number(0, i64::MAX), [], HONOURED;
        /// Bytes of a member up to which it is.
        zset_max_listpack_value: u64 = 64, "zset-max-listpack-value" | "zset-max-ziplist-value", memory(0, i64::MAX), [], HONOURED;
        /// Bytes up to which a HyperLogLog is kept sparse.
        hll_sparse_max_bytes: u64 = 3000, "hll-sparse-max-bytes", memory(0, i64::MAX), [], HONOURED;
        /// Bytes of a node of a stream; 0 for no limit.
        stream_node_max_bytes: u64 = 4096, "stream-node-max-bytes", memory(0, i64::MAX), [], HONOURED;
        /// Entries of a node of a stream; 0 for no limit.
        stream_node_max_entries: u64 = 100, "stream-node-max-entries", number(0, i64::MAX), [], HONOURED;
    }

    "Cluster" {
        /// Be a node of a cluster.
        cluster_enabled: bool = false, "cluster-enabled", bool, [IMMUTABLE], HONOURED;
        /// Number of databases of a cluster node.
        cluster_databases: u32 = 1, "cluster-databases", number(1, INT_MAX), [IMMUTABLE], HONOURED;
        /// File in which the node keeps its view of the cluster; written by the server only.
        cluster_config_file: Text = "nodes.conf".into(), "cluster-config-file", text(checks::cluster_config_file), [IMMUTABLE], HONOURED;
        /// When that file cannot be saved: sync (stop), best-effort (go on).
        cluster_config_save_behavior: ClusterConfigSaveBehavior = ClusterConfigSaveBehavior::Sync,
            "cluster-config-save-behavior", choice, [], HONOURED;
        /// Milliseconds without an answer after which a node counts as failing.
        cluster_node_timeout: u64 = 15000, "cluster-node-timeout", number(0, i64::MAX), [], HONOURED;
        /// Port of the cluster bus; 0 for the client port plus 10000.
        cluster_port: u16 = 0, "cluster-port", number(0, u16::MAX), [IMMUTABLE], HONOURED;
        /// Age of a replica's data, as a multiple of the node timeout, above which it does not stand for election; 0 to
        /// always stand.
        cluster_replica_validity_factor: u32 = 10, "cluster-replica-validity-factor" | "cluster-slave-validity-factor",
            number(0, INT_MAX), [], HONOURED;
        /// Replicas a primary must keep for one of them to move to a primary without any.
        cluster_migration_barrier: u32 = 1, "cluster-migration-barrier", number(0, INT_MAX), [], HONOURED;
        /// Let replicas move so.
        cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", bool, [], HONOURED;
        /// Refuse queries while some slot has no owner.
        cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", bool, [], HONOURED;
        /// Never stand for election.
        cluster_replica_no_failover: bool = false, "cluster-replica-no-failover" | "cluster-slave-no-failover", bool, [], HONOURED;
        /// Answer reads while the cluster is down.
        cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", bool, [], HONOURED;
        /// Serve sharded channels while the cluster is down.
        cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", bool, [], HONOURED;
        /// Bytes queued for one other node, above which that link is closed; 0 for no limit.
        cluster_link_sendbuf_limit: u64 = 0, "cluster-link-sendbuf-limit", memory(0, u64::MAX), [], HONOURED;
        /// Address that other nodes and clients are told, when a network in between changes it.
        cluster_announce_ip: Text = Text::default(), "cluster-announce-ip", optional(checks::cluster_announce_ip), [], HONOURED;
        /// IPv4 address that clients connected over IPv4 are told.
        cluster_announce_client_ipv4: Text = Text::default(), "cluster-announce-client-ipv4", optional(checks::ipv4), [], HONOURED;
        /// IPv6 address that clients connected over IPv6 are told.
        cluster_announce_client_ipv6: Text = Text::default(), "cluster-announce-client-ipv6", optional(checks::ipv6), [], HONOURED;
        /// Port that other nodes and clients are told; 0 for `port`.
        cluster_announce_port: u16 = 0, "cluster-announce-port", number(0, u16::MAX), [], HONOURED;
        /// TLS port that other nodes and clients are told; 0 for `tls-port`.
        cluster_announce_tls_port: u16 = 0, "cluster-announce-tls-port", number(0, u16::MAX), [], HONOURED;
        /// Bus port that other nodes are told; 0 for the real one.
        cluster_announce_bus_port: u16 = 0, "cluster-announce-bus-port", number(0, u16::MAX), [], HONOURED;
        /// Port that only clients are told; 0 for the same as nodes.
        cluster_announce_client_port: u16 = 0, "cluster-announce-client-port", number(0, u16::MAX), [], HONOURED;
        /// TLS port that only clients are told; 0 for the same as nodes.
        cluster_announce_client_tls_port: u16 = 0, "cluster-announce-client-tls-port", number(0, u16::MAX), [], HONOURED;
        /// Host name that clients are told.
        cluster_announce_hostname: Text = Text::default(), "cluster-announce-hostname", optional(checks::cluster_announce_hostname), [], HONOURED;
        /// Name of this node in logs, for people.
        cluster_announce_human_nodename: Text = Text::default(), "cluster-announce-human-nodename",
            optional(checks::cluster_announce_human_nodename), [], HONOURED;
        /// What clients are told to connect to: ip, hostname, unknown-endpoint.
        cluster_preferred_endpoint_type: ClusterPreferredEndpointType = ClusterPreferredEndpointType::Ip,
            "cluster-preferred-endpoint-type", choice, [], HONOURED;
        /// Seconds for which a forgotten node is not learned again.
        cluster_blacklist_ttl: i64 = 60, "cluster-blacklist-ttl", number(i64::MIN, i64::MAX), [], HONOURED;
        /// Milliseconds a manual failover may take.
        cluster_manual_failover_timeout: u32 = 5000, "cluster-manual-failover-timeout", number(1, INT_MAX), [], HONOURED;
        /// Count the use of each slot, for CLUSTER SLOT-STATS.
        cluster_slot_stats_enabled: bool = false, "cluster-slot-stats-enabled", bool, [], HONOURED;
        /// Finished slot migrations that are remembered.
        cluster_slot_migration_log_max_len: u64 = 1000, "cluster-slot-migration-log-max-len", number(0, i64::MAX), [], HONOURED;
        /// Bytes still to be sent at which a slot migration may pause writes and hand over; -1 to wait for none.
        slot_migration_max_failover_repl_bytes: i64 = 0, "slot-migration-max-failover-repl-bytes", signed_memory(-1, i64::MAX), [], HONOURED;
        /// Milliseconds a source waits for the new owner of slots whose hand-over it has granted, with writes to them
        /// held back, before it serves them again although writes may be lost; 0 to wait until it is certain.
        slot_migration_grant_timeout: u64 = 0, "slot-migration-grant-timeout", number(0, i64::MAX), [OURS], HONOURED;
        /// Milliseconds between pings; 0 for the built-in rhythm; for tests.
        cluster_ping_interval: u64 = 0, "cluster-ping-interval", number(0, i64::MAX), [HIDDEN], HONOURED;
        /// Percent of the known nodes that one packet tells about.
        cluster_message_gossip_perc: u32 = 10, "cluster-message-gossip-perc", number(1, 100), [HIDDEN], HONOURED;
    }

    "Scripts" {
        /// Milliseconds after which a running script lets others in to kill it; 0 for never.
        busy_reply_threshold: u64 = 5000, "busy-reply-threshold" | "lua-time-limit", number(0, i64::MAX), [], HONOURED;
        /// Give scripts the functions that could be used to break out.
        lua_enable_insecure_api: bool = false, "lua-enable-insecure-api" | "lua-enable-deprecated-api", bool, [HIDDEN PROTECTED], HONOURED;
    }

    "Observation" {
        /// Microseconds above which COMMANDLOG keeps a command as slow; -1 for none, 0 for all.
        commandlog_execution_slower_than: i64 = 10000, "commandlog-execution-slower-than" | "slowlog-log-slower-than",
            number(-1, i64::MAX), [], HONOURED;
        /// Slow commands that are kept.
        commandlog_slow_execution_max_len: u64 = 128, "commandlog-slow-execution-max-len" | "slowlog-max-len", number(0, i64::MAX), [], HONOURED;
        /// Bytes above which COMMANDLOG keeps a request as large; -1 for none, 0 for all.
        commandlog_request_larger_than: i64 = 1048576, "commandlog-request-larger-than", number(-1, i64::MAX), [], HONOURED;
        /// Large requests that are kept.
        commandlog_large_request_max_len: u64 = 128, "commandlog-large-request-max-len", number(0, i64::MAX), [], HONOURED;
        /// Bytes above which COMMANDLOG keeps a reply as large; -1 for none, 0 for all.
        commandlog_reply_larger_than: i64 = 1048576, "commandlog-reply-larger-than", number(-1, i64::MAX), [], HONOURED;
        /// Large replies that are kept.
        commandlog_large_reply_max_len: u64 = 128, "commandlog-large-reply-max-len", number(0, i64::MAX), [], HONOURED;
        /// Milliseconds above which LATENCY keeps an event; 0 for off.
        latency_monitor_threshold: u64 = 0, "latency-monitor-threshold", number(0, i64::MAX), [], HONOURED;
        /// Keep a histogram of the latency of each command.
        latency_tracking: bool = true, "latency-tracking", bool, [], HONOURED;
        /// The percentiles of it that INFO shows.
        latency_tracking_info_percentiles: Vec<f64> = vec![50.0, 99.0, 99.9], "latency-tracking-info-percentiles",
            special(special::LATENCY_TRACKING_INFO_PERCENTILES), [MULTI], HONOURED;
        /// Keyspace events to publish: K and E choose the channels; g $ l s h z x e t d the classes, A all of these;
        /// m misses, n new keys. Empty for none.
        notify_keyspace_events: NotifyFlags = NotifyFlags::default(), "notify-keyspace-events",
            special(special::NOTIFY_KEYSPACE_EVENTS), [], HONOURED;
    }
}

/// The position in [`TABLE`] of the directive with this name or alias, in any case of letters.
pub fn index_of(name: &[u8]) -> Option<usize> {
    static INDEX: LazyLock<HashMap<&'static [u8], usize>> = LazyLock::new(|| {
        let rows = TABLE.iter().enumerate();
        rows.flat_map(|(at, row)| {
            [Some(row.name), row.alias].into_iter().flatten().map(move |name| (name, at))
        })
        .map(|(name, at)| (name.as_bytes(), at))
        .collect()
    });
    INDEX.get(name.to_ascii_lowercase().as_slice()).copied()
}

/// The directive with this name or alias, in any case of letters.
pub fn find(name: &[u8]) -> Option<&'static Directive> {
    index_of(name).map(|at| &TABLE[at])
}
