//! The snapshot on a replication link: one header line, then data (spec page replication.md, section 5).

use super::history::NAME_LENGTH;

/// Bytes of the mark that ends a snapshot of unknown length.
pub const MARK_LENGTH: usize = 40;

/// What the line before the data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// The primary is still busy.
    KeepAlive,
    /// `$length`: so many bytes follow.
    Length(u64),
    /// `$EOF:mark`: data follows up to the mark.
    Mark([u8; MARK_LENGTH]),
    /// `-reason`
    Refused(Vec<u8>),
    /// It is none.
    Malformed,
}

/// Reads a header line without its line end.
pub fn header_of(line: &[u8]) -> Header {
    match line {
        [] => Header::KeepAlive,
        [b'-', reason @ ..] => Header::Refused(reason.to_vec()),
        [b'$', b'E', b'O', b'F', b':', mark @ ..] => {
            mark.get(..MARK_LENGTH).and_then(|m| m.try_into().ok()).map_or(Header::Malformed, Header::Mark)
        }
        [b'$', digits @ ..] => std::str::from_utf8(digits)
            .ok()
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|d| d.parse().ok())
            .map_or(Header::Malformed, Header::Length),
        _ => Header::Malformed,
    }
}

/// `$ENDOFF:offset replid db client-id`, the first line on the second connection of a dual-channel synchronization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    pub offset: i64,
    pub history: String,
    /// The database the stream is in, or -1.
    pub db: i64,
    pub rdb_client: u64,
}

/// Reads the line without its line end.
pub fn snapshot_end_of(line: &[u8]) -> Option<SnapshotEnd> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix("$ENDOFF:")?;
    let mut words = text.split(' ');
    let end = SnapshotEnd {
        offset: words.next()?.parse().ok().filter(|n| *n >= 0)?,
        history: words.next().filter(|name| name.len() == NAME_LENGTH)?.to_owned(),
        db: words.next()?.parse().ok().filter(|n| *n >= -1)?,
        rdb_client: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(end)
}

/// Tells the data of a snapshot from what follows, whatever the pieces it arrives in.
#[derive(Debug)]
pub struct Splitter {
    until: Until,
    /// The end of what came before, which may be the beginning of the mark.
    kept: Vec<u8>,
}

#[derive(Debug)]
enum Until {
    Left(u64),
    Mark([u8; MARK_LENGTH]),
}

/// What a piece turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub data: Vec<u8>,
    /// What followed the end, once the end has come.
    pub rest: Option<Vec<u8>>,
}

impl Splitter {
    pub fn of_length(length: u64) -> Self {
        Self { until: Until::Left(length), kept: Vec::new() }
    }

    pub fn of_mark(mark: [u8; MARK_LENGTH]) -> Self {
        Self { until: Until::Mark(mark), kept: Vec::new() }
    }

    /// Takes the next piece. Not to be called again behind the end.
    pub fn push(&mut self, piece: &[u8]) -> Split {
        match &mut self.until {
            Until::Left(left) => {
                let own = piece.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= own as u64;
                let rest = (*left == 0).then(|| piece[own..].to_vec());
                Split { data: piece[..own].to_vec(), rest }
            }
            Until::Mark(mark) => {
                let mut data = std::mem::take(&mut self.kept);
                data.extend_from_slice(piece);
                if let Some(at) = memchr::memmem::find(&data, mark) {
                    let rest = data.split_off(at + MARK_LENGTH);
                    data.truncate(at);
                    return Split { data, rest: Some(rest) };
                }
                self.kept = data.split_off(data.len().saturating_sub(MARK_LENGTH - 1));
                Split { data, rest: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_apart() {
        assert_eq!(header_of(b""), Header::KeepAlive);
        assert_eq!(header_of(b"$175"), Header::Length(175));
        assert_eq!(header_of(b"-LOADING x"), Header::Refused(b"LOADING x".to_vec()));
        let mark = [b'a'; MARK_LENGTH];
        assert_eq!(header_of(&[b"$EOF:".as_slice(), &mark].concat()), Header::Mark(mark));
        for bad in ["$EOF:abc", "$-1", "$", "$1x", "+OK", "PING"] {
            assert_eq!(header_of(bad.as_bytes()), Header::Malformed, "{bad}");
        }
        let name = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            snapshot_end_of(format!("$ENDOFF:14 {name} -1 77").as_bytes()),
            Some(SnapshotEnd { offset: 14, history: name.into(), db: -1, rdb_client: 77 })
        );
        assert_eq!(snapshot_end_of(b"$ENDOFF:14 short 0 77"), None);
    }

    #[test]
    fn the_end_is_found_wherever_pieces_are_cut() {
        let mark: [u8; MARK_LENGTH] = std::array::from_fn(|i| b'a' + i as u8 % 7);
        // Data that looks like the beginning of the mark.
        let data = [b"xyz", &mark[..39], b"q", &mark[..20], &mark[..10]].concat();
        let stream = [data.as_slice(), &mark, b"*1\r\n"].concat();
        for size in 1..stream.len() {
            for mut splitter in [Splitter::of_mark(mark), Splitter::of_length(data.len() as u64)] {
                let by_length = matches!(splitter.until, Until::Left(_));
                let mut got = Vec::new();
                let mut rest = None;
                for piece in stream.chunks(size) {
                    match &mut rest {
                        None => {
                            let split = splitter.push(piece);
                            got.extend(split.data);
                            rest = split.rest;
                        }
                        Some(rest) => rest.extend_from_slice(piece),
                    }
                }
                assert_eq!(got, data, "pieces of {size}");
                let behind = if by_length { [&mark[..], b"*1\r\n"].concat() } else { b"*1\r\n".to_vec() };
                assert_eq!(rest, Some(behind), "pieces of {size}");
            }
        }
    }
}
