//! What a command sees while it runs, and the errors all commands share.

use std::borrow::Cow;

use super::spec::CommandSpec;
use crate::config::Config;
use crate::keyspace::Access;
use crate::rdb::DecodeError;
use crate::resp::Reply;
use crate::rng::Rng;
use crate::session::Session;
use crate::slot::Slot;

/// A command's refusal. The texts are those of Valkey 9.1, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR value is not a valid float")]
    NotFloat,
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR index out of range")]
    IndexOutOfRange,
    #[error("ERR source and destination objects are the same")]
    SameObject,
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    #[error("ERR value is out of range, must be positive")]
    MustBePositive,
    #[error("ERR DB index is out of range")]
    DbOutOfRange,
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// `wrong number of arguments`, found out by the command itself.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// A complete error line including its code word, without the leading `-` and the CRLF.
    #[error("{0}")]
    Text(Cow<'static, str>),
    /// A serialized value that cannot be read; why, the log tells.
    #[error("ERR Bad data format")]
    BadData(DecodeError),
    /// Like `Text` for lines that quote client bytes.
    #[error("{}", String::from_utf8_lossy(.0))]
    Bytes(Vec<u8>),
}

impl CommandError {
    /// A fixed line, code word included.
    pub const fn fixed(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A line made at run time, code word included.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// A line that quotes a client's word between two texts. As in the reference server the word ends at its first NUL.
    pub fn quoting(before: &str, word: &[u8], after: &str) -> Self {
        let end = word.iter().position(|&b| b == 0).unwrap_or(word.len());
        Self::Bytes([before.as_bytes(), &word[..end], after.as_bytes()].concat())
    }

    /// Writes the error reply.
    pub fn write_to(&self, reply: &mut Reply) {
        match self {
            Self::Bytes(line) => reply.error_bytes(line),
            Self::Text(line) => reply.error(line),
            other => reply.error(&other.to_string()),
        }
    }
}

/// The result of a command: its reply is already in the context's writer, or it is refused.
pub type Outcome = Result<(), CommandError>;

/// The arguments, keyspace, session and reply of the command being executed.
pub struct Context<'a> {
    /// The request, command name first.
    pub args: &'a [&'a [u8]],
    pub spec: &'static CommandSpec,
    /// The keys, the frozen clock (`db.now`, Unix milliseconds) and the effects.
    pub db: Access<'a>,
    pub session: &'a mut Session,
    pub reply: &'a mut Reply,
    pub config: &'a Config,
    /// The users of now.
    pub acl: &'a crate::acl::Acl,
    pub rng: &'a mut Rng,
    /// What TIME tells, Unix microseconds.
    pub now_us: i64,
    /// The node of a cluster this server is.
    pub node: Option<&'a dyn NodeOfCluster>,
    /// Whether this server follows a primary.
    pub is_replica: bool,
}

/// What commands about keys ask the node of a cluster.
pub trait NodeOfCluster {
    /// The first slot from `slot` on that is not of this node's shard; one behind the last if all are.
    fn served_until(&self, slot: Slot) -> usize;
}

impl<'a> Context<'a> {
    /// Argument `index`, the command's name being 0.
    ///
    /// # Panics
    /// If there is no such argument: commands check arity first, so that is a bug.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args[index]
    }

    /// Argument `index` as an integer, or `ERR value is not an integer or out of range`.
    pub fn integer(&self, index: usize) -> Result<i64, CommandError> {
        crate::resp::decode::parse_integer(self.args[index]).ok_or(CommandError::NotInteger)
    }

    /// Argument `index` as a 32-bit integer, or the error that names its bounds.
    pub fn int(&self, index: usize) -> Result<i32, CommandError> {
        i32::try_from(self.integer(index)?).map_err(|_| {
            CommandError::fixed("ERR value is out of range, value must between -2147483648 and 2147483647")
        })
    }

    /// The database that argument `index` names; None if there is no such database.
    pub fn database(&self, index: usize) -> Result<Option<u32>, CommandError> {
        Ok(self.database_number(self.int(index)?))
    }

    /// The database of this number, if there is one.
    pub fn database_number(&self, number: i32) -> Option<u32> {
        u32::try_from(number).ok().filter(|&db| db < self.config.database_count())
    }

    /// Whether argument `index` exists and is this word in any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The command's own arity error.
    pub fn arity_error(&self) -> CommandError {
        CommandError::Arity(self.spec.name)
    }
}
