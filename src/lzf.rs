//! LZF, the byte compression of RDB strings and of inner list nodes (format: spec page rdb.md, section 3.2).
//!
//! The compressor makes the same choices as liblzf in its "very fast" mode with a 2^16 table, which Valkey uses, so
//! compressed bytes agree and not only what they unpack to.

use std::cell::RefCell;

const TABLE_BITS: u32 = 16;
const LITERALS_MAX: usize = 32;
const OFFSET_MAX: usize = 1 << 13;
const MATCH_MAX: usize = (1 << 8) + (1 << 3);

fn slot(window: u32) -> usize {
    ((window >> (24 - TABLE_BITS)).wrapping_sub(window.wrapping_mul(5)) & ((1 << TABLE_BITS) - 1)) as usize
}

/// Two bytes at `at`, ready to be shifted into a three-byte window.
fn first_two(input: &[u8], at: usize) -> u32 {
    (input[at] as u32) << 8 | input[at + 1] as u32
}

/// Output under construction: literal runs carry their length in front, patched when the run ends.
struct Output {
    bytes: Vec<u8>,
    run: usize,
    limit: usize,
}

impl Output {
    fn start_run(&mut self) {
        self.run = 0;
        self.bytes.push(0);
    }

    fn literal(&mut self, byte: u8) {
        self.run += 1;
        self.bytes.push(byte);
        if self.run == LITERALS_MAX {
            self.stop_run();
            self.start_run();
        }
    }

    fn stop_run(&mut self) {
        let header = self.bytes.len() - self.run - 1;
        if self.run == 0 {
            self.bytes.truncate(header);
        } else {
            self.bytes[header] = self.run as u8 - 1;
        }
    }

    /// `length` is the number of bytes matched, less two; `offset` the distance, less one.
    fn reference(&mut self, length: usize, offset: usize) {
        let high = (offset >> 8) as u8;
        if length < 7 {
            self.bytes.push(high + ((length as u8) << 5));
        } else {
            self.bytes.push(high + (7 << 5));
            self.bytes.push((length - 7) as u8);
        }
        self.bytes.push(offset as u8);
    }
}

/// Where three-byte sequences were last seen. Positions of one input are stored above a floor that rises from input to
/// input, so that the table need not be cleared for each: small inputs would pay 256 KiB of zeroing.
struct Seen {
    table: Vec<u32>,
    floor: u32,
}

impl Seen {
    const fn new() -> Self {
        Seen { table: Vec::new(), floor: 0 }
    }

    /// Forgets all, for an input of `len` bytes.
    fn start(&mut self, len: usize) {
        match u32::try_from(len).ok().and_then(|len| self.floor.checked_add(len)?.checked_add(1)) {
            Some(_) if !self.table.is_empty() => {}
            _ => {
                self.table.clear();
                self.table.resize(1 << TABLE_BITS, 0);
                self.floor = 0;
            }
        }
    }

    /// Notes that the sequence `window` is at `at`, and returns where it was before.
    #[inline]
    fn replace(&mut self, window: u32, at: usize) -> Option<usize> {
        let entry = &mut self.table[slot(window)];
        let before = entry.checked_sub(self.floor + 1);
        *entry = self.floor + 1 + at as u32;
        before.map(|at| at as usize)
    }

    fn finish(&mut self, len: usize) {
        self.floor += len as u32;
    }
}

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(Seen::new()) };
}

/// The longest input that is compressed, in bytes.
const INPUT_MAX: usize = 1 << 31;

/// Compresses `input` into at most `limit` bytes; `None` if that is not possible, or the input is empty or longer than
/// 2 GiB. Keeps a table of 256 KiB per thread.
pub fn compress(input: &[u8], limit: usize) -> Option<Vec<u8>> {
    if input.is_empty() || limit == 0 || input.len() > INPUT_MAX {
        return None;
    }
    SEEN.with_borrow_mut(|seen| {
        seen.start(input.len());
        let out = compress_with(seen, input, limit);
        seen.finish(input.len());
        out
    })
}

fn compress_with(seen: &mut Seen, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let end = input.len();
    let mut out = Output { bytes: Vec::with_capacity(limit.min(end) + 8), run: 0, limit };
    out.start_run();
    let mut at = 0;
    let mut window = if end >= 2 { first_two(input, 0) } else { 0 };
    while at + 2 < end {
        window = window << 8 | input[at + 2] as u32;
        let candidate = seen.replace(window, at);
        // The very first byte is never referred to; liblzf cannot tell it from an empty slot.
        let matched = candidate
            .filter(|&c| c > 0 && c < at && at - c - 1 < OFFSET_MAX && input[c..c + 3] == input[at..at + 3]);
        let Some(source) = matched else {
            if out.bytes.len() >= out.limit {
                return None;
            }
            out.literal(input[at]);
            at += 1;
            continue;
        };
        if out.bytes.len() - usize::from(out.run == 0) + 4 >= out.limit {
            return None;
        }
        out.stop_run();
        let octets = match_length(input, source, at);
        out.reference(octets - 2, at - source - 1);
        out.start_run();
        at += octets;
        if at + 2 >= end {
            break;
        }
        // Enter the last two positions of the match into the table.
        at -= 2;
        window = first_two(input, at);
        for _ in 0..2 {
            window = window << 8 | input[at + 2] as u32;
            seen.replace(window, at);
            at += 1;
        }
    }
    if out.bytes.len() + 3 > out.limit {
        return None;
    }
    for byte in &input[at..] {
        out.literal(*byte);
    }
    out.stop_run();
    Some(out.bytes)
}

/// Bytes in common from `source` and `at` on, within liblzf's limits: it stops two bytes before the end of the input,
/// except that the first 16 comparisons of a long match do not look at that limit.
fn match_length(input: &[u8], source: usize, at: usize) -> usize {
    let limit = (input.len() - at - 2).min(MATCH_MAX);
    let mut length = 2;
    if limit > 16 {
        while length < 18 {
            length += 1;
            if input[source + length] != input[at + length] {
                return length;
            }
        }
    }
    loop {
        length += 1;
        if length >= limit || input[source + length] != input[at + length] {
            return length;
        }
    }
}

/// Decompresses to exactly `size` bytes; `None` if the input is damaged or says otherwise. Allocates at most what the
/// input can expand to.
pub fn decompress(input: &[u8], size: usize) -> Option<Vec<u8>> {
    // A reference of three bytes yields at most MATCH_MAX of them.
    if size > input.len().saturating_mul(MATCH_MAX) {
        return None;
    }
    // What a foreign size asks for may be more than there is memory, which must not end the process.
    let mut out = Vec::new();
    out.try_reserve_exact(size).ok()?;
    let mut at = 0;
    while at < input.len() {
        let control = input[at] as usize;
        at += 1;
        if control < 32 {
            let run = input.get(at..at + control + 1)?;
            out.extend_from_slice(run);
            at += run.len();
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += *input.get(at)? as usize;
                at += 1;
            }
            length += 2;
            let offset = ((control & 31) << 8 | *input.get(at)? as usize) + 1;
            at += 1;
            let source = out.len().checked_sub(offset)?;
            if out.len() + length > size {
                return None;
            }
            // The source may overlap what is being written.
            for i in 0..length {
                out.push(out[source + i]);
            }
        }
        if out.len() > size {
            return None;
        }
    }
    (out.len() == size).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From an RDB string of Valkey (spec page rdb.md, section 3.2).
    #[test]
    fn a_run_compresses_as_in_valkey() {
        let packed = compress(&[b'a'; 60], 56).unwrap();
        assert_eq!(packed, [0x01, 0x61, 0x61, 0xe0, 0x2f, 0x00, 0x01, 0x61, 0x61]);
    }

    #[test]
    fn results_do_not_depend_on_earlier_inputs() {
        let input = b"abcabcabcabc xyzxyzxyz abcabcabc".repeat(3);
        let first = compress(&input, input.len());
        assert!(first.is_some());
        for floor in [u32::MAX, u32::MAX - 50, u32::MAX - 95, u32::MAX - 96, u32::MAX - 97] {
            let mut seen = Seen { table: vec![floor; 1 << TABLE_BITS], floor };
            for _ in 0..3 {
                seen.start(input.len());
                assert_eq!(compress_with(&mut seen, &input, input.len()), first);
                seen.finish(input.len());
            }
        }
    }

    #[test]
    fn damage_is_refused() {
        assert_eq!(decompress(&[0xe0], 10), None);
        assert_eq!(decompress(&[0x20, 0x00], 3), None);
        assert_eq!(decompress(&[0x05, 1], 6), None);
        assert_eq!(decompress(&[0x00, 1], usize::MAX), None);
    }

    proptest! {
        #[test]
        fn round_trips(input in prop::collection::vec(prop_oneof![4 => 0u8..4, 1 => any::<u8>()], 1..3000)) {
            if let Some(packed) = compress(&input, input.len()) {
                prop_assert!(packed.len() <= input.len());
                prop_assert_eq!(decompress(&packed, input.len()), Some(input.clone()));
                prop_assert_eq!(decompress(&packed, input.len() - 1), None);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300), size in 0usize..2000) {
            decompress(&input, size);
        }
    }
}
