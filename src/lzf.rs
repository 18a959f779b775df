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

/// Output under construction. Literals are copied when their run ends, so that most steps touch no memory of it.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    /// Bytes that were taken away, which came before.
    before: usize,
    /// What the output would take if the run ended here, in bytes: liblzf's limit is on that.
    len: usize,
    /// Literals of the run that are not copied yet.
    run: usize,
}

impl Output<'_> {
    fn start_run(&mut self) {
        self.run = 0;
        self.len += 1;
    }

    /// Takes the byte before `end` of the input.
    #[inline]
    fn literal(&mut self, input: &[u8], end: usize) {
        self.run += 1;
        self.len += 1;
        if self.run == LITERALS_MAX {
            self.stop_run(input, end);
            self.start_run();
        }
    }

    /// The run ends before `end` of the input.
    #[inline]
    fn stop_run(&mut self, input: &[u8], end: usize) {
        if self.run == 0 {
            self.len -= 1;
        } else {
            self.bytes.push(self.run as u8 - 1);
            self.bytes.extend_from_slice(&input[end - self.run..end]);
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
        self.len = self.before + self.bytes.len();
    }
}

/// Where three-byte sequences were last seen. Positions of one input are stored above a floor that rises from input to
/// input, so that the table need not be cleared for each: small inputs would pay 256 KiB of zeroing.
struct Seen {
    table: Option<Box<[u32; 1 << TABLE_BITS]>>,
    floor: u32,
}

impl Seen {
    const fn new() -> Self {
        Seen { table: None, floor: 0 }
    }

    /// Forgets all, for an input of `len` bytes; the floor, and the table.
    fn start(&mut self, len: usize) -> (u32, &mut [u32; 1 << TABLE_BITS]) {
        let end = u32::try_from(len).ok().and_then(|len| self.floor.checked_add(len)?.checked_add(1));
        if end.is_none() {
            (self.table, self.floor) = (None, 0);
        }
        let floor = self.floor;
        self.floor = floor.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        (floor, self.table.get_or_insert_with(empty_table))
    }
}

fn empty_table() -> Box<[u32; 1 << TABLE_BITS]> {
    let zeros = vec![0; 1 << TABLE_BITS].into_boxed_slice();
    zeros.try_into().expect("a table of that size")
}

/// Notes that the sequence `window` is at `at`, and returns where it was before.
#[inline]
fn replace(table: &mut [u32; 1 << TABLE_BITS], floor: u32, window: u32, at: usize) -> Option<usize> {
    let entry = &mut table[slot(window)];
    let before = entry.checked_sub(floor + 1);
    *entry = floor + 1 + at as u32;
    before.map(|at| at as usize)
}

thread_local! {
    static SEEN: RefCell<(Seen, Vec<u8>)> = const { RefCell::new((Seen::new(), Vec::new())) };
}

/// The longest input that is compressed, in bytes.
pub const INPUT_MAX: usize = 1 << 31;
/// The largest output buffer that a thread keeps, in bytes.
const KEPT_MAX: usize = 1 << 16;

/// Compresses `input` into at most `limit` bytes; `None` if that is not possible, or the input is empty or longer than
/// 2 GiB. Keeps a table of 256 KiB per thread.
pub fn compress(input: &[u8], limit: usize) -> Option<Vec<u8>> {
    compress_for(input, limit, <[u8]>::to_vec)
}

/// [`compress`] for those who need the result for a moment only: hands it to `user`.
pub fn compress_for<R>(input: &[u8], limit: usize, user: impl FnOnce(&[u8]) -> R) -> Option<R> {
    if input.is_empty() || limit == 0 || input.len() > INPUT_MAX {
        return None;
    }
    SEEN.with_borrow_mut(|(seen, out)| {
        out.clear();
        let result = compress_with(seen, out, input, limit).then(|| user(out));
        if out.capacity() > KEPT_MAX {
            *out = Vec::new();
        }
        result
    })
}

/// Appends the compressed input to `out`, which is empty; false if `limit` does not allow that.
fn compress_with(seen: &mut Seen, out: &mut Vec<u8>, input: &[u8], limit: usize) -> bool {
    let (floor, table) = seen.start(input.len());
    let step = State::new(input).advance(table, floor, out, (input, limit), usize::MAX);
    step == Step::Done
}

/// What one step of a compression came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    Paused,
    Done,
    /// The result would be longer than it may be.
    TooLong,
}

/// A compression in steps, of an input that takes long, for those who have to do other things in between.
pub struct Compressor {
    state: State,
    table: Box<[u32; 1 << TABLE_BITS]>,
}

impl Compressor {
    /// For this input, of 2 GiB at most.
    pub fn new(input: &[u8]) -> Self {
        Self { state: State::new(input), table: empty_table() }
    }

    /// Compresses about `count` bytes more of the same input into at most `limit` bytes altogether; what they became.
    pub fn step(&mut self, input: &[u8], limit: usize, count: usize) -> (Step, Vec<u8>) {
        let mut bytes = Vec::new();
        let until = self.state.at.saturating_add(count);
        let step = self.state.advance(&mut self.table, 0, &mut bytes, (input, limit), until);
        self.state.before += bytes.len();
        (step, bytes)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("at", &self.state.at).finish_non_exhaustive()
    }
}

/// How far a compression is.
struct State {
    at: usize,
    /// The bytes before `at + 2`, the last in the lowest place.
    window: u32,
    /// See [`Output`].
    before: usize,
    len: usize,
    run: usize,
}

impl State {
    /// Before the first byte of an input that is not empty.
    fn new(input: &[u8]) -> Self {
        let window = if input.len() >= 2 { first_two(input, 0) } else { 0 };
        let mut out = Output { bytes: &mut Vec::new(), before: 0, len: 0, run: 0 };
        out.start_run();
        Self { at: 0, window, before: 0, len: out.len, run: out.run }
    }

    /// Goes on, to position `until` of the input or a little beyond.
    fn advance(
        &mut self,
        table: &mut [u32; 1 << TABLE_BITS],
        floor: u32,
        out: &mut Vec<u8>,
        (input, limit): (&[u8], usize),
        until: usize,
    ) -> Step {
        let end = input.len();
        let last = end.saturating_sub(2);
        let pause = last.min(until);
        let mut out = Output { bytes: out, before: self.before, len: self.len, run: self.run };
        let (mut at, mut window) = (self.at, self.window);
        while at < pause {
            window = window << 8 | input[at + 2] as u32;
            let candidate = replace(table, floor, window, at);
            // The very first byte is never referred to; liblzf cannot tell it from an empty slot.
            let matched = candidate.filter(|&c| {
                c > 0 && c < at && at - c - 1 < OFFSET_MAX && {
                    first_two(input, c) << 8 | input[c + 2] as u32 == window & 0xff_ffff
                }
            });
            let Some(source) = matched else {
                if out.len >= limit {
                    return Step::TooLong;
                }
                at += 1;
                out.literal(input, at);
                continue;
            };
            if out.len - usize::from(out.run == 0) + 4 >= limit {
                return Step::TooLong;
            }
            out.stop_run(input, at);
            let octets = match_length(input, source, at);
            out.reference(octets - 2, at - source - 1);
            out.start_run();
            at += octets;
            if at >= last {
                break;
            }
            // Enter the last two positions of the match into the table.
            at -= 2;
            window = first_two(input, at);
            for _ in 0..2 {
                window = window << 8 | input[at + 2] as u32;
                replace(table, floor, window, at);
                at += 1;
            }
        }
        if at < last {
            *self = Self { at, window, before: self.before, len: out.len, run: out.run };
            return Step::Paused;
        }
        if out.len + 3 > limit {
            return Step::TooLong;
        }
        while at < end {
            at += 1;
            out.literal(input, at);
        }
        out.stop_run(input, end);
        Step::Done
    }
}

/// Bytes in common from `source` and `at` on, within liblzf's limits: it stops two bytes before the end of the input,
/// except that the first 16 comparisons of a long match do not look at that limit, nor does the first of a short one.
fn match_length(input: &[u8], source: usize, at: usize) -> usize {
    let limit = (input.len() - at - 2).min(MATCH_MAX);
    let most = if limit > 16 { limit.max(19) } else { limit.max(3) };
    let (here, there) = (&input[at..], &input[source..]);
    let mut length = 3;
    // Eight at a time.
    while length + 8 <= most && length + 8 <= here.len() {
        let word =
            |bytes: &[u8]| bytes[length..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
        let differing = word(here) ^ word(there);
        if differing != 0 {
            return length + (differing.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while length < most && length < here.len() && here[length] == there[length] {
        length += 1;
    }
    length
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
        let packed = compress(&[b'a'; 60], 56).expect("a run gets shorter");
        assert_eq!(packed, [0x01, 0x61, 0x61, 0xe0, 0x2f, 0x00, 0x01, 0x61, 0x61]);
    }

    #[test]
    fn results_do_not_depend_on_earlier_inputs() {
        let input = b"abcabcabcabc xyzxyzxyz abcabcabc".repeat(3);
        let first = compress(&input, input.len());
        assert!(first.is_some());
        for floor in [u32::MAX, u32::MAX - 50, u32::MAX - 95, u32::MAX - 96, u32::MAX - 97] {
            let mut seen = Seen { table: Some(Box::new([floor; 1 << TABLE_BITS])), floor };
            for _ in 0..3 {
                let mut packed = Vec::new();
                assert!(compress_with(&mut seen, &mut packed, &input, input.len()));
                assert_eq!(Some(packed), first);
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
        fn steps_come_to_the_same(
            input in prop::collection::vec(prop_oneof![4 => 0u8..4, 1 => any::<u8>()], 1..3000),
            count in 1usize..500,
            gain in 0usize..2000,
        ) {
            let limit = input.len().saturating_sub(gain);
            let mut compressor = Compressor::new(&input);
            let (mut steps, mut packed) = (0, Vec::new());
            let last = loop {
                let (step, mut bytes) = compressor.step(&input, limit, count);
                packed.append(&mut bytes);
                match step {
                    Step::Paused => steps += 1,
                    last => break last,
                }
            };
            prop_assert!(last == Step::TooLong || steps > 0 || input.len() < count + MATCH_MAX);
            let stepwise = (last == Step::Done).then_some(packed);
            prop_assert_eq!(stepwise, compress(&input, limit));
        }

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
