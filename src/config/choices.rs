//! Directives whose values are words: enumerations, and sets of words kept as bits.

/// A type whose values have names in the configuration.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every accepted name and what it means, in the order in which refusals list them. A value with several
    /// names is shown by its first.
    const NAMES: &'static [(&'static str, Self)];

    /// The name a value is shown by.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }

    /// The value of a name, in any case of letters.
    fn from_name(name: &[u8]) -> Option<Self> {
        let known = |(candidate, _): &&(&str, Self)| candidate.as_bytes().eq_ignore_ascii_case(name);
        Self::NAMES.iter().find(known).map(|(_, value)| *value)
    }
}

macro_rules! choices {
    ($($(#[$meta:meta])* $enum:ident { $($name:literal => $variant:ident),+ })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $enum { $($variant),+ }

            impl Choice for $enum {
                const NAMES: &'static [(&'static str, $enum)] =
                    &[$(($name, $enum::$variant)),+];
            }
        )*
    };
}

choices! {
    /// Which supervisor is told about readiness.
    Supervised { "upstart" => Upstart, "systemd" => Systemd, "auto" => Auto, "no" => No }
    /// The syslog facility messages go to.
    SyslogFacility {
        "user" => User, "local0" => Local0, "local1" => Local1, "local2" => Local2, "local3" => Local3,
        "local4" => Local4, "local5" => Local5, "local6" => Local6, "local7" => Local7
    }
    /// How a replica loads a full copy that arrives over the socket.
    ReplDisklessLoad {
        "disabled" => Disabled, "on-empty-db" => OnEmptyDb, "swapdb" => SwapDb,
        "flush-before-load" => FlushBeforeLoad
    }
    /// The least severe messages that are logged.
    LogLevel {
        "debug" => Debug, "verbose" => Verbose, "notice" => Notice, "warning" => Warning, "nothing" => Nothing
    }
    /// Which keys give way when memory is full.
    MaxmemoryPolicy {
        "volatile-lru" => VolatileLru, "volatile-lfu" => VolatileLfu, "volatile-random" => VolatileRandom,
        "volatile-ttl" => VolatileTtl, "allkeys-lru" => AllkeysLru, "allkeys-lfu" => AllkeysLfu,
        "allkeys-random" => AllkeysRandom, "noeviction" => NoEviction
    }
    /// When appended commands are forced to the disk.
    AppendFsync { "everysec" => EverySecond, "always" => Always, "no" => No }
    /// What new users may do with channels.
    AclPubsubDefault { "allchannels" => AllChannels, "resetchannels" => ResetChannels }
    /// Who may use a guarded feature.
    ProtectedAction { "no" => No, "yes" => Yes, "local" => Local }
    /// What cluster clients are told to connect to.
    ClusterPreferredEndpointType {
        "ip" => Ip, "hostname" => Hostname, "unknown-endpoint" => UnknownEndpoint
    }
    /// What happens when the cluster's node file cannot be saved.
    ClusterConfigSaveBehavior { "sync" => Sync, "best-effort" => BestEffort }
    /// What happens when a command of the replication stream or the append-only file fails.
    PropagationErrorBehavior {
        "ignore" => Ignore, "panic" => Panic, "panic-on-replicas" => PanicOnReplicas
    }
    /// The shape of log lines.
    LogFormat { "legacy" => Legacy, "logfmt" => Logfmt, "json" => Json }
    /// The shape of the times in log lines.
    LogTimestampFormat { "legacy" => Legacy, "iso8601" => Iso8601, "milliseconds" => Milliseconds }
    /// Whether snapshots of unknown versions are loaded.
    RdbVersionCheck { "strict" => Strict, "relaxed" => Relaxed }
    /// Whether TLS clients must show a certificate.
    TlsAuthClients { "no" => No, "yes" => Yes, "optional" => Optional }
    /// Which part of a client's certificate names its user.
    TlsAuthClientsUser { "CN" => CommonName, "URI" => Uri, "off" => Off }
    /// Whether parts of one pipeline that touch different shards may run at the same time. Skuld's own.
    PipelineOrder { "program" => Program, "relaxed" => Relaxed }
}

/// How the kernel's out-of-memory score is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomScoreAdj {
    No,
    /// `oom-score-adj-values` are added to the score the process began with.
    Relative,
    /// They are the score.
    Absolute,
}

impl Choice for OomScoreAdj {
    const NAMES: &'static [(&'static str, OomScoreAdj)] = &[
        ("no", OomScoreAdj::No),
        ("yes", OomScoreAdj::Relative),
        ("relative", OomScoreAdj::Relative),
        ("absolute", OomScoreAdj::Absolute),
    ];
}

impl MaxmemoryPolicy {
    /// Whether only keys with an expiry are candidates.
    pub fn is_volatile(self) -> bool {
        use MaxmemoryPolicy::*;
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// Whether entries count how often they are used instead of when.
    pub fn is_lfu(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu)
    }

    /// Whether victims are chosen by the time of their last use.
    pub fn is_lru(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru)
    }
}

/// What a signal to terminate asks for: a set of [`ShutdownFlags`] constants; empty is `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownFlags(pub u8);

impl ShutdownFlags {
    pub const SAVE: u8 = 1;
    pub const NOSAVE: u8 = 1 << 1;
    pub const NOW: u8 = 1 << 2;
    pub const FORCE: u8 = 1 << 3;
    pub const SAFE: u8 = 1 << 4;
    pub const FAILOVER: u8 = 1 << 5;

    /// The words and their bits, in the order in which they are shown.
    pub const NAMES: &'static [(&'static str, u8)] = &[
        ("default", 0),
        ("save", Self::SAVE),
        ("nosave", Self::NOSAVE),
        ("now", Self::NOW),
        ("force", Self::FORCE),
        ("safe", Self::SAFE),
        ("failover", Self::FAILOVER),
    ];

    /// Whether all the given bits are set.
    pub fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

/// The classes of keyspace events that are published, one bit each, numbered as in Valkey's module interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyFlags(pub u32);

impl NotifyFlags {
    pub const KEYSPACE: u32 = 1;
    pub const KEYEVENT: u32 = 1 << 1;
    pub const GENERIC: u32 = 1 << 2;
    pub const STRING: u32 = 1 << 3;
    pub const LIST: u32 = 1 << 4;
    pub const SET: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const ZSET: u32 = 1 << 7;
    pub const EXPIRED: u32 = 1 << 8;
    pub const EVICTED: u32 = 1 << 9;
    pub const STREAM: u32 = 1 << 10;
    pub const KEY_MISS: u32 = 1 << 11;
    pub const MODULE: u32 = 1 << 13;
    pub const NEW: u32 = 1 << 14;
    /// What the letter `A` stands for.
    pub const ALL: u32 = Self::GENERIC
        | Self::STRING
        | Self::LIST
        | Self::SET
        | Self::HASH
        | Self::ZSET
        | Self::EXPIRED
        | Self::EVICTED
        | Self::STREAM
        | Self::MODULE;

    /// The classes that `A` abbreviates, and `n`, in the order in which they are shown.
    const CLASSES: &'static [(u8, u32)] = &[
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
    ];

    /// Where events go, and `m`, which `A` never covers.
    const OTHERS: &'static [(u8, u32)] =
        &[(b'K', Self::KEYSPACE), (b'E', Self::KEYEVENT), (b'm', Self::KEY_MISS)];

    /// Whether any of the given bits is set.
    pub fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Reads a string of class letters; `None` if a letter is unknown.
    pub fn parse(letters: &[u8]) -> Option<NotifyFlags> {
        let mut bits = 0;
        for letter in letters {
            bits |= match letter {
                b'A' => Self::ALL,
                _ => Self::CLASSES.iter().chain(Self::OTHERS).find(|(known, _)| known == letter)?.1,
            };
        }
        Some(NotifyFlags(bits))
    }

    /// The letters in the order Valkey shows them. As there, `n` is lost when `A` is shown.
    pub fn letters(self) -> String {
        let mut out = String::new();
        let classes = if self.0 & Self::ALL == Self::ALL {
            out.push('A');
            &[]
        } else {
            Self::CLASSES
        };
        for (letter, bit) in classes.iter().chain(Self::OTHERS) {
            if self.any(*bit) {
                out.push(char::from(*letter));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_shown_canonically() {
        assert_eq!(MaxmemoryPolicy::from_name(b"ALLKEYS-lru"), Some(MaxmemoryPolicy::AllkeysLru));
        assert_eq!(OomScoreAdj::from_name(b"relative").map(Choice::name), Some("yes"));
        assert_eq!(TlsAuthClientsUser::from_name(b"cn").map(Choice::name), Some("CN"));
        assert_eq!(LogLevel::from_name(b"loud"), None);
    }

    #[test]
    fn event_letters_are_normalised() {
        for (given, shown) in [
            ("KEA", "AKE"),
            ("AKEmn", "AKEm"),
            ("g$lshzxetd", "A"),
            ("dtexzhslgEKnm", "glshzxetdnKEm"),
            ("", ""),
        ] {
            assert_eq!(
                NotifyFlags::parse(given.as_bytes()).map(NotifyFlags::letters).as_deref(),
                Some(shown)
            );
        }
        assert_eq!(NotifyFlags::parse(b"q"), None);
    }
}
