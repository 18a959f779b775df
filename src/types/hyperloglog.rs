//! HyperLogLog with Valkey's bytes: a string value that holds 16384 six-bit registers, dense or run-length coded.
//!
//! ```text
//! "HYLL" │ u8 encoding (0 dense, 1 sparse) │ 3 zero bytes │ u64 LE cached count (top bit: stale) │ registers
//! ```
//! Dense: six bits per register, least significant first. Sparse opcodes:
//! `00xxxxxx` x+1 zero registers; `01xxxxxx yyyyyyyy` xy+1 zero registers; `1vvvvvxx` x+1 registers of value v+1.
//!
//! Sources: Flajolet et al. 2007; Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017.

use std::fmt::Write;

const HEADER: usize = 16;
const INDEX_BITS: u32 = 14;
/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Hash bits that are left for counting zeros.
const Q: usize = 64 - INDEX_BITS as usize;
const DENSE_SIZE: usize = HEADER + REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The largest register value and run that sparse values can express.
const SPARSE_VALUE_MAX: u8 = 32;
const SPARSE_VALUE_RUN_MAX: usize = 4;
const SPARSE_ZERO_RUN_MAX: usize = 64;

/// The registers do not decode; what the client sees is `INVALIDOBJ Corrupted HLL object detected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("INVALIDOBJ Corrupted HLL object detected")]
pub struct Corrupted;

/// All registers, one byte each.
pub type Registers = [u8; REGISTERS];

/// An empty value, sparse.
pub fn create() -> Vec<u8> {
    let mut bytes = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// Whether a string value looks like a HyperLogLog; commands answer WRONGTYPE if not.
pub fn is_valid(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes.starts_with(b"HYLL")
        && match bytes[4] {
            DENSE => bytes.len() == DENSE_SIZE,
            SPARSE => true,
            _ => false,
        }
}

/// Whether the value is dense. For a valid value.
pub fn is_dense(bytes: &[u8]) -> bool {
    bytes.get(4) == Some(&DENSE)
}

/// MurmurHash64A (Austin Appleby, public domain), little endian.
fn murmur(data: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut h = seed ^ (data.len() as u64).wrapping_mul(M);
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 47;
        h = (h ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h = (h ^ h >> 47).wrapping_mul(M);
    h ^ h >> 47
}

/// Register and run length of zeros (plus one) that an element stands for.
pub fn position(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element, 0xadc8_3b19);
    let rest = hash >> INDEX_BITS | 1 << Q;
    (hash as usize & (REGISTERS - 1), rest.trailing_zeros() as u8 + 1)
}

fn dense_get(registers: &[u8], index: usize) -> u8 {
    let (byte, bit) = (index * 6 / 8, index * 6 % 8);
    let low = registers[byte] as u16;
    let high = registers.get(byte + 1).copied().unwrap_or(0) as u16;
    ((high << 8 | low) >> bit) as u8 & 63
}

fn dense_put(registers: &mut [u8], index: usize, value: u8) {
    let (byte, bit) = (index * 6 / 8, index * 6 % 8);
    let (mask, value) = (63u16 << bit, (value as u16) << bit);
    registers[byte] = registers[byte] & !(mask as u8) | value as u8;
    if bit > 2 {
        registers[byte + 1] = registers[byte + 1] & !((mask >> 8) as u8) | (value >> 8) as u8;
    }
}

#[derive(Clone, Copy)]
struct Opcode {
    /// Bytes it takes.
    size: usize,
    /// Registers it covers.
    run: usize,
    /// Their value.
    value: u8,
}

fn opcode(sparse: &[u8], at: usize) -> Option<Opcode> {
    let first = *sparse.get(at)?;
    Some(match first {
        0..=0x3f => Opcode { size: 1, run: first as usize + 1, value: 0 },
        0x40..=0x7f => {
            let run = ((first & 0x3f) as usize) << 8 | *sparse.get(at + 1)? as usize;
            Opcode { size: 2, run: run + 1, value: 0 }
        }
        _ => Opcode { size: 1, run: (first & 3) as usize + 1, value: (first >> 2 & 31) + 1 },
    })
}

fn push_zeros(out: &mut Vec<u8>, run: usize) {
    if run > SPARSE_ZERO_RUN_MAX {
        out.extend([0x40 | ((run - 1) >> 8) as u8, (run - 1) as u8]);
    } else if run > 0 {
        out.push(run as u8 - 1);
    }
}

fn value_opcode(value: u8, run: usize) -> u8 {
    0x80 | (value - 1) << 2 | (run - 1) as u8
}

fn push_run(out: &mut Vec<u8>, value: u8, run: usize) {
    match value {
        0 => push_zeros(out, run),
        _ if run > 0 => out.push(value_opcode(value, run)),
        _ => {}
    }
}

/// Calls `f` with each run of equal registers; fails unless exactly all registers are covered.
fn for_each_run(sparse: &[u8], mut f: impl FnMut(usize, usize, u8)) -> Result<(), Corrupted> {
    let (mut at, mut index) = (0, 0);
    while at < sparse.len() {
        let op = opcode(sparse, at).ok_or(Corrupted)?;
        if index + op.run > REGISTERS {
            return Err(Corrupted);
        }
        f(index, op.run, op.value);
        index += op.run;
        at += op.size;
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// Turns a sparse value into a dense one; a dense one stays.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<(), Corrupted> {
    if is_dense(bytes) {
        return Ok(());
    }
    let mut dense = vec![0; DENSE_SIZE];
    dense[..HEADER].copy_from_slice(&bytes[..HEADER]);
    dense[4] = DENSE;
    for_each_run(&bytes[HEADER..], |index, run, value| {
        if value > 0 {
            for i in index..index + run {
                dense_put(&mut dense[HEADER..], i, value);
            }
        }
    })?;
    *bytes = dense;
    Ok(())
}

/// Marks the cached count as stale.
pub fn invalidate(bytes: &mut [u8]) {
    bytes[15] |= 0x80;
}

/// Adds an element to a valid value; whether a register grew (the cached count is then stale). A sparse value that
/// would grow beyond `sparse_bytes_max` (`hll-sparse-max-bytes`, header included) becomes dense.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_bytes_max: usize) -> Result<bool, Corrupted> {
    let (index, count) = position(element);
    raise(bytes, index, count, sparse_bytes_max)
}

/// Sets a register of a valid value to at least `count`; whether it grew.
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    count: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    let changed = if is_dense(bytes) {
        dense_raise(bytes, index, count)
    } else {
        sparse_raise(bytes, index, count, sparse_bytes_max)?
    };
    if changed {
        invalidate(bytes);
    }
    Ok(changed)
}

fn dense_raise(bytes: &mut [u8], index: usize, count: u8) -> bool {
    let registers = &mut bytes[HEADER..];
    let grows = dense_get(registers, index) < count;
    if grows {
        dense_put(registers, index, count);
    }
    grows
}

fn sparse_raise(bytes: &mut Vec<u8>, index: usize, count: u8, bytes_max: usize) -> Result<bool, Corrupted> {
    if count > SPARSE_VALUE_MAX {
        make_dense(bytes)?;
        return Ok(dense_raise(bytes, index, count));
    }
    // The opcode that covers the register, and the one before it.
    let (mut at, mut first, mut previous) = (HEADER, 0, None);
    let op = loop {
        let op = opcode(bytes, at).ok_or(Corrupted)?;
        if index < first + op.run {
            break op;
        }
        previous = Some(at);
        first += op.run;
        at += op.size;
    };
    if op.value >= count {
        return Ok(false);
    }
    let mut replacement = Vec::with_capacity(5);
    push_run(&mut replacement, op.value, index - first);
    replacement.push(value_opcode(count, 1));
    push_run(&mut replacement, op.value, first + op.run - 1 - index);
    let grown = (bytes.len() + replacement.len()).saturating_sub(op.size);
    if replacement.len() > op.size && grown > bytes_max {
        make_dense(bytes)?;
        return Ok(dense_raise(bytes, index, count));
    }
    bytes.splice(at..at + op.size, replacement);
    join_values(bytes, previous.unwrap_or(HEADER));
    Ok(true)
}

/// Joins neighbouring runs of the same value, looking at the few opcodes from `at` on that a change can concern.
fn join_values(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some(op) = opcode(bytes, at) else { return };
        if op.value > 0
            && let Some(next) = opcode(bytes, at + 1)
            && next.value == op.value
            && op.run + next.run <= SPARSE_VALUE_RUN_MAX
        {
            bytes[at + 1] = value_opcode(op.value, op.run + next.run);
            bytes.remove(at);
            continue;
        }
        at += op.size;
    }
}

/// Raises `registers` to those of a valid value.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupted> {
    if is_dense(bytes) {
        for (index, register) in registers.iter_mut().enumerate() {
            *register = (*register).max(dense_get(&bytes[HEADER..], index));
        }
        return Ok(());
    }
    for_each_run(&bytes[HEADER..], |index, run, value| {
        for register in &mut registers[index..index + run] {
            *register = (*register).max(value);
        }
    })
}

/// All registers of a valid value.
pub fn registers(bytes: &[u8]) -> Result<Box<Registers>, Corrupted> {
    let mut all = Box::new([0; REGISTERS]);
    merge(&mut all, bytes)?;
    Ok(all)
}

/// The estimated number of distinct elements behind `registers`.
pub fn estimate(registers: &Registers) -> u64 {
    let mut histogram = [0u32; 64];
    for register in registers {
        histogram[*register as usize & 63] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau((m - histogram[Q + 1] as f64) / m);
    for count in histogram[1..=Q].iter().rev() {
        z = (z + *count as f64) * 0.5;
    }
    z += m * sigma(histogram[0] as f64 / m);
    const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;
    (ALPHA_INFINITY * m * m / z).round() as u64
}

/// Ertl's sigma: the share of registers that are zero.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl's tau: the share of registers that are full.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The cached count of a valid value, unless it is stale.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    let cached = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    (cached >> 63 == 0).then_some(cached)
}

/// The count of a valid value, from the cache or computed and cached; and whether the bytes changed by that.
pub fn count(bytes: &mut [u8]) -> Result<(u64, bool), Corrupted> {
    if let Some(count) = cached_count(bytes) {
        return Ok((count, false));
    }
    let count = estimate(&*registers(bytes)?);
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
    Ok((count, true))
}

/// Makes a valid value hold at least `all`: what PFMERGE does to its destination. With `dense`, it becomes dense first.
pub fn raise_all(
    bytes: &mut Vec<u8>,
    all: &Registers,
    dense: bool,
    sparse_bytes_max: usize,
) -> Result<(), Corrupted> {
    if dense {
        make_dense(bytes)?;
    }
    for (index, value) in all.iter().enumerate() {
        if *value > 0 {
            raise(bytes, index, *value, sparse_bytes_max)?;
        }
    }
    invalidate(bytes);
    Ok(())
}

/// The opcodes of a sparse value as PFDEBUG DECODE shows them.
pub fn describe_sparse(bytes: &[u8]) -> String {
    let (mut text, mut at) = (String::new(), HEADER);
    while let Some(op) = opcode(bytes, at) {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a String cannot fail.
        _ = match (op.value, op.size) {
            (0, 1) => write!(text, "z:{}", op.run),
            (0, _) => write!(text, "Z:{}", op.run),
            (value, _) => write!(text, "v:{value},{}", op.run),
        };
        at += op.size;
    }
    text
}

#[cfg(test)]
#[path = "hyperloglog_tests.rs"]
mod tests;
