//! Requests: arrays of bulk strings, and inline commands.
//!
//! The decoder never copies arguments. It records, as byte ranges of the connection's read buffer, every complete
//! command the buffer holds, and remembers how far it got inside an incomplete one, so that each byte is looked at
//! once however the bytes arrive.

use memchr::memchr;

/// Longest inline request, and longest length line (Valkey's PROTO_INLINE_MAX_SIZE).
pub const INLINE_MAX_BYTES: usize = 64 * 1024;
/// Most arguments of a command from a client that has not authenticated.
pub const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Longest argument from a client that has not authenticated.
pub const UNAUTHENTICATED_BULK_MAX: i64 = 16_384;
/// Most arguments of any command.
pub const MULTIBULK_ARGS_MAX: i64 = i32::MAX as i64;

/// One argument: a range of the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub len: usize,
}

/// One command: a range of the batch's spans, and the bytes it took on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub first_arg: u32,
    pub args: u32,
    /// Bytes of the request as it came, framing included (COMMANDLOG, CLIENT LIST tot-net-in).
    pub wire_bytes: usize,
}

/// The complete commands one read brought.
#[derive(Debug, Default)]
pub struct Requests {
    pub spans: Vec<Span>,
    pub requests: Vec<Request>,
}

impl Requests {
    pub fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// What it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.requests.capacity() * size_of::<Request>()
    }

    /// Gives back what is not used.
    pub fn shrink(&mut self) {
        self.spans.shrink_to_fit();
        self.requests.shrink_to_fit();
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The spans of request `index`.
    #[inline]
    pub fn args(&self, index: usize) -> &[Span] {
        let r = self.requests[index];
        &self.spans[r.first_arg as usize..(r.first_arg + r.args) as usize]
    }
}

/// What a client may send at most.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// `proto-max-bulk-len`, bytes.
    pub bulk_max: i64,
    pub authenticated: bool,
}

/// A frame that cannot be a request. The text follows `-ERR Protocol error: ` in the reply, after which the
/// connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("too big inline request")]
    InlineTooBig,
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("too big mbulk count string")]
    MultibulkCountTooBig,
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    #[error("too big bulk count string")]
    BulkCountTooBig,
    #[error("expected '$', got '{}'", *.0 as char)]
    ExpectedDollar(u8),
    #[error("invalid bulk length")]
    InvalidBulkLength,
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("invalid CRLF in request")]
    InvalidLineEnd,
}

impl ProtocolError {
    /// What the log calls it, which is not always what the client is told.
    pub fn log_text(&self) -> String {
        match self {
            Self::UnbalancedQuotes => "unbalanced quotes in inline request".into(),
            Self::InvalidMultibulkLength => "invalid mbulk count".into(),
            Self::UnauthenticatedMultibulkLength => "unauth mbulk count".into(),
            Self::ExpectedDollar(_) => "expected $ but got something else".into(),
            Self::UnauthenticatedBulkLength => "unauth bulk length".into(),
            other => other.to_string(),
        }
    }
}

/// Where the decoder stands inside the read buffer.
#[derive(Debug, Default)]
pub struct Decoder {
    /// First byte not consumed yet.
    pos: usize,
    /// First byte of the request being decoded.
    request_start: usize,
    /// Arguments still missing in the current multibulk request; 0 between requests.
    args_missing: i64,
    /// Length of the argument whose bytes are awaited; None while its length line is.
    bulk_len: Option<usize>,
    /// First span of the request being decoded.
    first_span: usize,
}

impl Decoder {
    /// Decodes as many complete requests as `buf` holds, appending them to `out`.
    ///
    /// On an error the requests before the bad frame are in `out` and still to be executed.
    pub fn decode(
        &mut self,
        buf: &mut [u8],
        limits: DecodeLimits,
        out: &mut Requests,
    ) -> Result<(), ProtocolError> {
        loop {
            if self.args_missing == 0 {
                self.request_start = self.pos;
                self.first_span = out.spans.len();
                match buf.get(self.pos) {
                    None => return Ok(()),
                    Some(b'*') => match self.multibulk_head(buf, limits)? {
                        Step::Incomplete => return Ok(()),
                        Step::Complete => {}
                    },
                    Some(_) => {
                        match self.inline(buf, out)? {
                            Step::Incomplete => return Ok(()),
                            Step::Complete => {}
                        }
                        continue;
                    }
                }
            }
            while self.args_missing > 0 {
                match self.argument(buf, limits, out)? {
                    Step::Incomplete => return Ok(()),
                    Step::Complete => {}
                }
            }
            self.finish(out);
        }
    }

    /// Bytes consumed by complete requests and by the complete arguments of an incomplete one.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// How many bytes in front of the buffer belong to complete requests: the connection hands these away and keeps
    /// the rest. After it removed them it must call [`Decoder::rebase`].
    pub fn complete_bytes(&self) -> usize {
        self.request_start
    }

    /// Bytes the argument being read still needs beyond what `buf_len` holds, so that the reader can make room once.
    pub fn wanted(&self, buf_len: usize) -> usize {
        self.bulk_len.map_or(0, |len| (self.pos + len + 2).saturating_sub(buf_len))
    }

    /// Tells the decoder that the first [`Decoder::complete_bytes`] bytes were removed from the buffer and complete
    /// requests taken out of `out`; spans of an incomplete request are moved to the front of `rest`.
    pub fn rebase(&mut self, out: &mut Requests, rest: &mut Requests) {
        let shift = self.request_start;
        rest.clear();
        if self.args_missing > 0 {
            rest.spans.extend(
                out.spans[self.first_span..].iter().map(|s| Span { start: s.start - shift, len: s.len }),
            );
            out.spans.truncate(self.first_span);
        }
        self.first_span = 0;
        self.pos -= shift;
        self.request_start = 0;
    }

    fn finish(&mut self, out: &mut Requests) {
        let args = out.spans.len() - self.first_span;
        if args > 0 {
            out.requests.push(Request {
                first_arg: self.first_span as u32,
                args: args as u32,
                wire_bytes: self.pos - self.request_start,
            });
        }
        self.request_start = self.pos;
    }

    /// The `*<count>\r\n` line.
    fn multibulk_head(&mut self, buf: &[u8], limits: DecodeLimits) -> Result<Step, ProtocolError> {
        if let Some((count, line)) = short_length(&buf[self.pos..])
            && count < 10
        {
            self.pos += line;
            self.args_missing = count as i64;
            self.bulk_len = None;
            return Ok(Step::Complete);
        }
        let Some(line) = length_line(&buf[self.pos..]) else {
            return if buf.len() - self.pos > INLINE_MAX_BYTES {
                Err(ProtocolError::MultibulkCountTooBig)
            } else {
                Ok(Step::Incomplete)
            };
        };
        if buf[self.pos + line + 1] != b'\n' {
            return Err(ProtocolError::InvalidLineEnd);
        }
        let count = parse_integer(&buf[self.pos + 1..self.pos + line])
            .filter(|&n| n <= MULTIBULK_ARGS_MAX)
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        if count > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.pos += line + 2;
        self.args_missing = count.max(0);
        self.bulk_len = None;
        Ok(Step::Complete)
    }

    /// One `$<len>\r\n<bytes>\r\n`.
    fn argument(
        &mut self,
        buf: &[u8],
        limits: DecodeLimits,
        out: &mut Requests,
    ) -> Result<Step, ProtocolError> {
        let len = match self.bulk_len {
            Some(len) => len,
            None => {
                let rest = &buf[self.pos..];
                if let Some((len, line)) = short_length(rest)
                    && rest[0] == b'$'
                    && rest.get(line + len..line + len + 2) == Some(b"\r\n")
                {
                    // All of a short argument is here: no need to remember how far it got.
                    out.spans.push(Span { start: self.pos + line, len });
                    self.pos += line + len + 2;
                    self.args_missing -= 1;
                    return Ok(Step::Complete);
                }
                let Some(line) = length_line(rest) else {
                    return if rest.len() > INLINE_MAX_BYTES {
                        Err(ProtocolError::BulkCountTooBig)
                    } else {
                        Ok(Step::Incomplete)
                    };
                };
                if rest[0] != b'$' {
                    return Err(ProtocolError::ExpectedDollar(rest[0]));
                }
                if rest[line + 1] != b'\n' {
                    return Err(ProtocolError::InvalidLineEnd);
                }
                let len = parse_integer(&rest[1..line])
                    .filter(|&n| n >= 0 && n <= limits.bulk_max)
                    .ok_or(ProtocolError::InvalidBulkLength)?;
                if len > UNAUTHENTICATED_BULK_MAX && !limits.authenticated {
                    return Err(ProtocolError::UnauthenticatedBulkLength);
                }
                self.pos += line + 2;
                self.bulk_len = Some(len as usize);
                len as usize
            }
        };
        if buf.len() - self.pos < len + 2 {
            return Ok(Step::Incomplete);
        }
        if buf[self.pos + len..self.pos + len + 2] != *b"\r\n" {
            return Err(ProtocolError::InvalidLineEnd);
        }
        out.spans.push(Span { start: self.pos, len });
        self.pos += len + 2;
        self.bulk_len = None;
        self.args_missing -= 1;
        Ok(Step::Complete)
    }

    /// One line of blank-separated words, possibly quoted. Unquoting only ever shortens, so the words are written
    /// back into the line's own bytes.
    fn inline(&mut self, buf: &mut [u8], out: &mut Requests) -> Result<Step, ProtocolError> {
        let Some(newline) = memchr(b'\n', &buf[self.pos..]) else {
            return if buf.len() - self.pos > INLINE_MAX_BYTES {
                Err(ProtocolError::InlineTooBig)
            } else {
                Ok(Step::Incomplete)
            };
        };
        if newline > INLINE_MAX_BYTES {
            // However much one read brought: Valkey's reads bring less, so that it never sees the end of such a line.
            return Err(ProtocolError::InlineTooBig);
        }
        let start = self.pos;
        let mut line_len = newline;
        if line_len > 0 && buf[start + line_len - 1] == b'\r' {
            line_len -= 1;
        }
        let line = &mut buf[start..start + line_len];
        let Ok(words) = crate::config::split::split_words(line) else {
            out.spans.truncate(self.first_span);
            return Err(ProtocolError::UnbalancedQuotes);
        };
        let mut at = 0;
        for word in words {
            line[at..at + word.len()].copy_from_slice(&word);
            out.spans.push(Span { start: start + at, len: word.len() });
            at += word.len();
        }
        self.pos = start + newline + 1;
        self.finish(out);
        Ok(Step::Complete)
    }
}

enum Step {
    Complete,
    Incomplete,
}

/// The usual length line, read without a search: a mark, one or two digits without a superfluous zero, CR and LF. Gives the length, at most 99 and so within every limit, and the bytes of the line with its end. None says
/// nothing: the line may be longer, incomplete or wrong.
#[inline]
fn short_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let digit = |at: usize| Some(usize::from(bytes[at].wrapping_sub(b'0'))).filter(|d| *d < 10);
    if bytes.len() < 5 {
        return None;
    }
    let first = digit(1)?;
    if bytes[2] == b'\r' {
        return (bytes[3] == b'\n').then_some((first, 4));
    }
    let second = digit(2)?;
    (bytes[3] == b'\r' && bytes[4] == b'\n' && first > 0).then_some((first * 10 + second, 5))
}

/// Length of the line at the front of `bytes` without its CRLF, if both its ends are there. As in Valkey the line
/// ends at the first CR; the caller looks whether the byte after it is the LF.
#[inline]
fn length_line(bytes: &[u8]) -> Option<usize> {
    /// Length lines are a few bytes long; a plain loop beats setting up a vector search.
    const SHORT: usize = 8;
    let near = bytes.iter().take(SHORT).position(|&b| b == b'\r');
    let cr = match near {
        Some(cr) => cr,
        None => SHORT + memchr(b'\r', bytes.get(SHORT..)?)?,
    };
    (bytes.len() >= cr + 2).then_some(cr)
}

/// A decimal integer without blanks, plus sign, or superfluous zeros.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        _ => {}
    }
    if digits.len() > 19 {
        return None;
    }
    let mut n: u64 = 0;
    for &d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(d - b'0'))?;
    }
    if negative {
        (n <= i64::MAX as u64 + 1).then(|| (n as i64).wrapping_neg())
    } else {
        i64::try_from(n).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: DecodeLimits = DecodeLimits { bulk_max: 512 << 20, authenticated: true };

    fn words(buf: &[u8], out: &Requests) -> Vec<Vec<String>> {
        (0..out.len())
            .map(|i| {
                out.args(i)
                    .iter()
                    .map(|s| String::from_utf8_lossy(&buf[s.start..s.start + s.len]).into())
                    .collect()
            })
            .collect()
    }

    fn decode(text: &[u8]) -> (Vec<Vec<String>>, Result<(), ProtocolError>) {
        let mut buf = text.to_vec();
        let mut out = Requests::default();
        let result = Decoder::default().decode(&mut buf, LIMITS, &mut out);
        (words(&buf, &out), result)
    }

    #[test]
    fn arrays_and_inline_requests_mix() {
        let (got, result) = decode(
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*-1\r\nSET \"a b\" 'c\\'d' \"\\x41\\n\"\n",
        );
        assert_eq!(result, Ok(()));
        assert_eq!(got, [vec!["GET", "k"], vec!["PING"], vec!["SET", "a b", "c'd", "A\n"]]);
    }

    #[test]
    fn bad_frames_are_named() {
        let error = |text: &[u8]| decode(text).1.map_err(|e| e.to_string());
        assert_eq!(error(b"*1\r\n+OK\r\n"), Err("expected '$', got '+'".into()));
        assert_eq!(error(b"*x\r\n"), Err("invalid multibulk length".into()));
        assert_eq!(error(b"*2147483648\r\n"), Err("invalid multibulk length".into()));
        assert_eq!(error(b"*1\r\n$-1\r\n"), Err("invalid bulk length".into()));
        assert_eq!(error(b"*1\r\n$999999999999\r\n"), Err("invalid bulk length".into()));
        for bad in ["*1\rx$1\r\na\r\n", "*1\r\n$1\rxa\r\n", "*1\r\n$1\r\nax\n", "*1\r\n$1\r\na\rx", "*12\rx"]
        {
            assert_eq!(error(bad.as_bytes()), Err("invalid CRLF in request".into()), "{bad:?}");
        }
        assert_eq!(error(b"*1x\n$1\r\na\r\n"), Err("invalid multibulk length".into()));
        assert_eq!(error(b"SET \"a\n"), Err("unbalanced quotes in request".into()));
        assert_eq!(error(&[b'a'; 70_000]), Err("too big inline request".into()));
        assert_eq!(
            error(&[[b'a'; 70_000].as_slice(), b"\r\n"].concat()),
            Err("too big inline request".into())
        );
        assert_eq!(
            error(&[b"*".as_slice(), &[b'1'; 70_000]].concat()),
            Err("too big mbulk count string".into())
        );
    }

    #[test]
    fn strangers_may_send_little() {
        let limits = DecodeLimits { authenticated: false, ..LIMITS };
        let error = |text: &[u8]| {
            Decoder::default()
                .decode(&mut text.to_vec(), limits, &mut Requests::default())
                .map_err(|e| e.to_string())
        };
        assert_eq!(error(b"*11\r\n"), Err("unauthenticated multibulk length".into()));
        assert_eq!(error(b"*1\r\n$16385\r\n"), Err("unauthenticated bulk length".into()));
        assert_eq!(error(b"*10\r\n$16384\r\n"), Ok(()));
    }

    proptest! {
        /// However the bytes are cut, the same requests come out, also when complete ones are taken away in between.
        #[test]
        fn cuts_do_not_matter(
            commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 1..8),
            cuts in prop::collection::vec(1usize..12, 1..200),
        ) {
            let mut wire = Vec::new();
            for c in &commands {
                wire.extend(format!("*{}\r\n", c.len()).bytes());
                for a in c {
                    wire.extend(format!("${}\r\n", a.len()).bytes());
                    wire.extend(a);
                    wire.extend(b"\r\n");
                }
            }
            let mut decoder = Decoder::default();
            let (mut buf, mut got) = (Vec::new(), Vec::new());
            let (mut out, mut rest) = (Requests::default(), Requests::default());
            let mut at = 0;
            let mut cuts = cuts.into_iter().cycle();
            while at < wire.len() {
                let n = cuts.next().expect("cycle").min(wire.len() - at);
                buf.extend(&wire[at..at + n]);
                at += n;
                decoder.decode(&mut buf, LIMITS, &mut out).expect("valid");
                for i in 0..out.len() {
                    got.push(out.args(i).iter().map(|s| buf[s.start..s.start + s.len].to_vec()).collect::<Vec<_>>());
                }
                let complete = decoder.complete_bytes();
                decoder.rebase(&mut out, &mut rest);
                buf.drain(..complete);
                std::mem::swap(&mut out, &mut rest);
            }
            prop_assert_eq!(got, commands);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut buf = bytes;
            let _ = Decoder::default().decode(&mut buf, LIMITS, &mut Requests::default());
        }
    }
}
