//! Replies. One writer for both protocols: a command states what it means (a map, a set, a double, a null) and the
//! writer knows how RESP2 says it.

/// The protocol version a connection speaks, switched by HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// What a bulk string takes beside its bytes, at most: the length with its `$`, and two line ends.
const HEAD_AND_ENDS: usize = 1 + 20 + 2 * 2;

/// A growing buffer of encoded replies.
#[derive(Debug, Default)]
pub struct Reply {
    buf: Vec<u8>,
    protocol: Protocol,
    /// Set when the command wrote an error, so that the executor can count it without parsing its own output.
    errors: u32,
    /// See [`Reply::limit_to`].
    limit: usize,
}

/// Where a length line goes that is known only after its elements are written; see [`Reply::deferred_array`].
#[must_use]
#[derive(Debug)]
pub struct Deferred {
    at: usize,
}

impl Reply {
    pub fn new(protocol: Protocol) -> Self {
        Self { buf: Vec::new(), protocol, errors: 0, limit: 0 }
    }

    /// Continues in a buffer that has been used before, keeping its capacity.
    pub fn with_buffer(buf: Vec<u8>, protocol: Protocol) -> Self {
        Self { buf, protocol, errors: 0, limit: 0 }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.buf.reserve(bytes);
    }

    pub fn len(&self) -> usize {
        self.buf.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// With more than so many bytes the reply will not be sent and its client be disconnected; 0: however many there are.
    pub fn limit_to(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Whether the reply is in vain, so that a command need not go on making it.
    #[inline]
    pub fn is_in_vain(&self) -> bool {
        self.limit != 0 && self.buf.len() > self.limit
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// Forgets everything written after `len` bytes (CLIENT REPLY OFF and SKIP, failed transactions).
    pub fn truncate(&mut self, len: usize) {
        self.buf.truncate(len);
    }

    /// Number of error replies written since the last call.
    pub fn take_errors(&mut self) -> u32 {
        std::mem::take(&mut self.errors)
    }

    fn line_integer(&mut self, prefix: u8, n: i64) {
        let mut digits = itoa::Buffer::new();
        let text = digits.format(n).as_bytes();
        self.buf.reserve(text.len() + 3);
        self.buf.push(prefix);
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(b"\r\n");
    }

    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// `+text`; the text must not contain line ends.
    pub fn simple(&mut self, text: &str) {
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    /// `-text`; line ends inside the text become blanks, as the protocol cannot carry them.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// Like [`Reply::error`] for texts that quote client bytes.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.errors += 1;
        self.buf.push(b'-');
        let end = text.iter().rposition(|&b| b != b'\r' && b != b'\n').map_or(0, |i| i + 1);
        self.buf.extend(text[..end].iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.buf.extend_from_slice(b"\r\n");
    }

    pub fn integer(&mut self, n: i64) {
        match n {
            0 => self.buf.extend_from_slice(b":0\r\n"),
            1 => self.buf.extend_from_slice(b":1\r\n"),
            _ => self.line_integer(b':', n),
        }
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        // Head and line ends included: to run out of room at the last byte would double the buffer.
        self.buf.reserve(len + HEAD_AND_ENDS);
        // Elements of collections are mostly short, and replies have many of them.
        let digit = |n: usize| b'0' + n as u8;
        match len {
            0..=9 => self.buf.extend_from_slice(&[b'$', digit(len), b'\r', b'\n']),
            10..=99 => {
                self.buf.extend_from_slice(&[b'$', digit(len / 10), digit(len % 10), b'\r', b'\n']);
            }
            _ => self.line_integer(b'$', len as i64),
        }
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, n: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(n).as_bytes());
    }

    /// The absent string: `$-1` or `_`.
    pub fn null(&mut self) {
        self.buf.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The absent array: `*-1` or `_`.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Head of an array of `len` elements.
    pub fn array(&mut self, len: usize) {
        self.line_integer(b'*', len as i64);
    }

    /// Head of a map of `len` pairs (RESP2: an array of twice as many elements).
    pub fn map(&mut self, len: usize) {
        if self.is_resp3() {
            self.line_integer(b'%', len as i64);
        } else {
            self.line_integer(b'*', len as i64 * 2);
        }
    }

    /// Head of a set of `len` elements (RESP2: an array).
    pub fn set(&mut self, len: usize) {
        self.line_integer(if self.is_resp3() { b'~' } else { b'*' }, len as i64);
    }

    /// Head of a push message of `len` elements (RESP2: an array).
    pub fn push(&mut self, len: usize) {
        self.line_integer(if self.is_resp3() { b'>' } else { b'*' }, len as i64);
    }

    /// Head of `len` attribute pairs that precede the reply proper; RESP2 has no such thing and gets nothing,
    /// so the caller must then not write the pairs either.
    pub fn attribute(&mut self, len: usize) -> bool {
        if self.is_resp3() {
            self.line_integer(b'|', len as i64);
        }
        self.is_resp3()
    }

    /// A truth value: `#t`/`#f`, in RESP2 1/0.
    pub fn boolean(&mut self, value: bool) {
        if self.is_resp3() {
            self.buf.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(i64::from(value));
        }
    }

    /// A double already formatted: `,1.5`, in RESP2 a bulk string.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.is_resp3() {
            self.buf.push(b',');
            self.buf.extend_from_slice(text);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// A number too big for 64 bits: `(123`, in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &[u8]) {
        if self.is_resp3() {
            self.buf.push(b'(');
            self.buf.extend_from_slice(digits);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(digits);
        }
    }

    /// Text with a three-letter format name (`txt`, `mkd`), in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        self.verbatim_bytes(format.as_bytes(), text);
    }

    /// Like [`Reply::verbatim`] with a format that a script made up.
    pub fn verbatim_bytes(&mut self, format: &[u8], text: &[u8]) {
        if self.is_resp3() {
            self.line_integer(b'=', text.len() as i64 + 4);
            self.buf.extend_from_slice(format);
            self.buf.push(b':');
            self.buf.extend_from_slice(text);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Bytes that are encoded already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Starts an array whose length is known later; finish it with [`Reply::finish_array`].
    pub fn deferred_array(&mut self) -> Deferred {
        Deferred { at: self.buf.len() }
    }

    /// Writes the head that [`Reply::deferred_array`] left out, moving the elements behind it.
    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish_with(deferred, |head| head.array(len));
    }

    /// Like [`Reply::finish_array`] with anything that `write` writes as the head.
    pub fn finish_with(&mut self, deferred: Deferred, write: impl FnOnce(&mut Reply)) {
        let mut head = Reply::new(self.protocol);
        write(&mut head);
        self.buf.splice(deferred.at..deferred.at, head.buf);
    }

    /// Like [`Reply::finish_array`] for a map of `len` pairs.
    pub fn finish_map(&mut self, deferred: Deferred, len: usize) {
        let mut head = Reply::new(self.protocol);
        head.map(len);
        self.buf.splice(deferred.at..deferred.at, head.buf);
    }

    /// Like [`Reply::finish_array`] for a set.
    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        let mut head = Reply::new(self.protocol);
        head.set(len);
        self.buf.splice(deferred.at..deferred.at, head.buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_meaning_has_its_bytes_in_both_protocols() {
        let write = |protocol| {
            let mut r = Reply::new(protocol);
            r.map(1);
            r.bulk(b"a");
            r.null();
            r.set(0);
            r.boolean(true);
            r.double_text(b"1.5");
            r.verbatim("txt", b"x");
            r.null_array();
            String::from_utf8(r.into_bytes()).expect("ascii")
        };
        assert_eq!(
            write(Protocol::Resp2),
            "*2\r\n$1\r\na\r\n$-1\r\n*0\r\n:1\r\n$3\r\n1.5\r\n$1\r\nx\r\n*-1\r\n"
        );
        assert_eq!(write(Protocol::Resp3), "%1\r\n$1\r\na\r\n_\r\n~0\r\n#t\r\n,1.5\r\n=5\r\ntxt:x\r\n_\r\n");
    }

    #[test]
    fn a_deferred_head_lands_before_its_elements() {
        let mut r = Reply::new(Protocol::Resp2);
        r.ok();
        let d = r.deferred_array();
        r.integer(7);
        r.finish_array(d, 1);
        assert_eq!(r.as_bytes(), b"+OK\r\n*1\r\n:7\r\n");
    }

    #[test]
    fn a_long_bulk_takes_little_more_than_its_bytes() {
        for len in [1, 999, 1_000, 100_000, 10_000_000] {
            let mut r = Reply::new(Protocol::Resp2);
            r.bulk(&vec![b'v'; len]);
            let bytes = r.into_bytes();
            assert!(bytes.capacity() <= len + 2 * HEAD_AND_ENDS, "{len}: {}", bytes.capacity());
        }
    }

    #[test]
    fn an_error_cannot_smuggle_line_ends() {
        let mut r = Reply::new(Protocol::Resp2);
        r.error("ERR a\r\nb\n");
        assert_eq!(r.as_bytes(), b"-ERR a  b\r\n");
        assert_eq!(r.take_errors(), 1);
    }
}
