//! What a replica says about itself by REPLCONF (spec page replication.md, section 3).

use crate::commands::context::CommandError;
use crate::resp::decode::parse_integer;

/// Most bytes of an announced address.
const ADDRESS_MAX: usize = 255;
/// The first version that can read the files this server writes.
pub const VERSION_OF_OWN_FILES: u32 = 0x9_00_00;

/// Which part of the data a snapshot for a replica holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    #[default]
    Everything,
    /// `rdb-filter-only functions`
    Functions,
    /// `rdb-filter-only ""`
    Nothing,
}

/// A replica's connection, from its first REPLCONF on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens; 0 if it did not say.
    pub port: u16,
    /// Where it can be reached, if it said so.
    pub address: Vec<u8>,
    pub eof: bool,
    pub psync2: bool,
    pub dual_channel: bool,
    pub skip_checksum: bool,
    /// One byte each for major, minor and patch; 0 if it did not say.
    pub version: u32,
    /// It wants a snapshot and no stream.
    pub rdb_only: bool,
    pub content: Content,
    /// The connection carries the snapshot of a synchronization over two connections.
    pub rdb_channel: bool,
    /// The connection carries the stream of the one whose snapshot that client gets.
    pub rdb_client: Option<u64>,
    /// The replica's name in the cluster; empty if it did not say.
    pub node_id: Vec<u8>,
    /// It has asked for synchronization: from then on it is a replica's and no client's.
    pub attached: bool,
}

/// What an option asks the server to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is stored.
    Nothing,
    /// REPLCONF ACK offset [FACK offset]; never answered.
    Acknowledge { offset: i64, file_offset: Option<i64> },
    /// REPLCONF ACK with something else than an offset; not answered either.
    NothingToAcknowledge,
    /// REPLCONF GETACK; never answered.
    SendAcknowledgement,
    /// `set-rdb-client-id`
    UseRdbClient(u64),
    /// `set-cluster-node-id`
    SetNodeId(Vec<u8>),
}

impl Peer {
    /// Takes one option. `dual_channel_possible` is whether the configuration allows it.
    ///
    /// # Errors
    /// Valkey's lines.
    pub fn take(
        &mut self,
        option: &[u8],
        value: &[u8],
        dual_channel_possible: bool,
    ) -> Result<Asked, CommandError> {
        let number = || parse_integer(value).ok_or(CommandError::NotInteger);
        match option.to_ascii_lowercase().as_slice() {
            b"listening-port" => self.port = number()? as u16,
            b"ip-address" if value.len() <= ADDRESS_MAX => self.address = value.to_vec(),
            b"ip-address" => {
                return Err(CommandError::text(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )));
            }
            b"capa" => match value.to_ascii_lowercase().as_slice() {
                b"eof" => self.eof = true,
                b"psync2" => self.psync2 = true,
                b"dual-channel" => self.dual_channel = dual_channel_possible,
                b"skip-rdb-checksum" => self.skip_checksum = true,
                _ => {}
            },
            b"version" => {
                self.version = parse_version(value).ok_or_else(|| {
                    CommandError::Bytes([b"ERR Unrecognized version format: ", value].concat())
                })?;
            }
            b"rdb-only" => self.rdb_only = number()? == 1,
            b"rdb-filter-only" => self.content = content_of(value)?,
            b"rdb-channel" => self.rdb_channel = number()? == 1,
            b"set-rdb-client-id" => return Ok(Asked::UseRdbClient(number()? as u64)),
            b"set-cluster-node-id" => {
                self.node_id = value.to_vec();
                return Ok(Asked::SetNodeId(value.to_vec()));
            }
            b"ack" => {
                return Ok(parse_integer(value).map_or(Asked::NothingToAcknowledge, |offset| {
                    Asked::Acknowledge { offset, file_offset: None }
                }));
            }
            b"getack" => return Ok(Asked::SendAcknowledgement),
            _ => return Err(CommandError::Bytes([b"ERR Unrecognized REPLCONF option: ", option].concat())),
        }
        Ok(Asked::Nothing)
    }

    /// Whether one snapshot serves both.
    pub fn shares_snapshot(&self, other: &Self) -> bool {
        let needs = |peer: &Self| (peer.content, peer.version >= VERSION_OF_OWN_FILES || !peer.eof);
        needs(self) == needs(other)
    }
}

/// `9.1.2` as one number.
fn parse_version(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('.').map(|part| {
        let digits = !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten().filter(|n| *n < 256)
    });
    let version = parts.next()?? << 16 | parts.next()?? << 8 | parts.next()??;
    parts.next().is_none().then_some(version)
}

/// The value of `rdb-filter-only`: words separated by blanks.
fn content_of(value: &[u8]) -> Result<Content, CommandError> {
    let mut content = Content::Nothing;
    for word in value.split(|b| *b == b' ').filter(|w| !w.is_empty()) {
        if !word.eq_ignore_ascii_case(b"functions") {
            return Err(CommandError::Bytes([b"ERR Unsupported rdb-filter-only option: ", word].concat()));
        }
        content = Content::Functions;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        assert_eq!(parse_version(b"9.1.2"), Some(0x9_01_02));
        for bad in ["9.1", "9.1.0-rc1", "9.1.2.3", "a.b.c", "", "..", "9.1.-1", "300.1.1"] {
            assert_eq!(parse_version(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn options_are_stored_or_refused_in_valkeys_words() {
        let mut peer = Peer::default();
        let mut take = |option: &str, value: &str| {
            peer.take(option.as_bytes(), value.as_bytes(), true).map_err(|e| e.to_string())
        };
        assert_eq!(take("LISTENING-PORT", "7000"), Ok(Asked::Nothing));
        assert_eq!(take("capa", "EOF"), Ok(Asked::Nothing));
        assert_eq!(take("capa", "nosuch"), Ok(Asked::Nothing));
        assert_eq!(take("ack", "12"), Ok(Asked::Acknowledge { offset: 12, file_offset: None }));
        assert_eq!(take("ack", "x"), Ok(Asked::NothingToAcknowledge));
        assert_eq!(take("version", "9.1"), Err("ERR Unrecognized version format: 9.1".into()));
        assert_eq!(take("nosuch", "1"), Err("ERR Unrecognized REPLCONF option: nosuch".into()));
        assert_eq!(
            take("rdb-filter-only", "functions x"),
            Err("ERR Unsupported rdb-filter-only option: x".into())
        );
        assert_eq!(take("rdb-filter-only", "functions"), Ok(Asked::Nothing));
        assert_eq!((peer.port, peer.eof, peer.content), (7000, true, Content::Functions));
    }
}
