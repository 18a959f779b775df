//! The 80-bit extended floating point of the x87, in software: what INCRBYFLOAT and HINCRBYFLOAT compute with in
//! Valkey on x86-64 (C's `long double`). Parsing and printing are exactly rounded, addition rounds to nearest even
//! in 64 bits of significand, so the printed results agree digit for digit on every host.

use std::cmp::Ordering;

/// Longest text that is read as a number, in bytes (Valkey's buffer of 5 KiB, less its terminator).
const TEXT_MAX: usize = 5 * 1024 - 1;
/// Exponent of the smallest positive value: 2^-16445.
const EXPONENT_MIN: i32 = -16_445;
/// Exponent of the unit in the last place of the largest values.
const EXPONENT_MAX: i32 = 16_383 - 63;

/// significand * 2^exponent, with sign; or an infinity; never NaN. Normalised: the top bit of the significand is set
/// unless the exponent is the smallest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Finite { significand: u64, exponent: i32 },
    Infinite,
}

impl Extended {
    /// Reads a number as Valkey reads the argument of INCRBYFLOAT: decimal or C hexadecimal, `inf`; no spaces, no NaN,
    /// neither overflow nor underflow to zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, body) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            return Some(Extended { negative, kind: Kind::Infinite });
        }
        let value = match body {
            [b'0', b'x' | b'X', hex @ ..] => parse_hex(hex)?,
            _ => parse_decimal(body)?,
        };
        Some(Extended { negative, ..value })
    }

    /// The same value: every double is an extended number. NaN becomes infinity, which no caller passes.
    pub fn from_f64(value: f64) -> Self {
        let negative = value.is_sign_negative();
        if !value.is_finite() {
            return Extended { negative, kind: Kind::Infinite };
        }
        let bits = value.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let biased = (bits >> 52 & 0x7ff) as i32;
        let (m, e) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
        Extended { negative, ..rounded(m as u128, e, false) }
    }

    /// The least integer that is not below `factor` times the number; beyond 64 bits the nearest limit.
    pub fn times_rounded_up(self, factor: u32) -> i64 {
        let limit = if self.negative { i64::MIN } else { i64::MAX };
        let Kind::Finite { significand, exponent } = self.kind else { return limit };
        let product = i128::from(significand) * i128::from(factor);
        let (whole, exact) = match exponent {
            _ if product == 0 => (0, true),
            0.. => return limit,
            -126..0 => (product >> -exponent, product & ((1 << -exponent) - 1) == 0),
            _ => (0, false),
        };
        let rounded = match (self.negative, exact) {
            (true, _) => -whole,
            (false, true) => whole,
            (false, false) => whole + 1,
        };
        i64::try_from(rounded).unwrap_or(limit)
    }

    pub fn is_finite(self) -> bool {
        self.kind != Kind::Infinite
    }

    /// The sum, rounded to nearest even. `None` for infinity minus infinity.
    pub fn plus(self, other: Extended) -> Option<Extended> {
        let (a, b) = match (self.kind, other.kind) {
            (Kind::Infinite, Kind::Infinite) => {
                return (self.negative == other.negative).then_some(self);
            }
            (Kind::Infinite, _) => return Some(self),
            (_, Kind::Infinite) => return Some(other),
            (Kind::Finite { significand: m, exponent: e }, Kind::Finite { significand: n, exponent: f }) => {
                ((m, e, self.negative), (n, f, other.negative))
            }
        };
        // Zeros carry no usable exponent.
        if a.0 == 0 || b.0 == 0 {
            let zero = a.0 == 0 && b.0 == 0;
            let negative = if zero {
                a.2 && b.2
            } else if a.0 == 0 {
                b.2
            } else {
                a.2
            };
            let kind = if a.0 == 0 { other.kind } else { self.kind };
            return Some(Extended { negative, kind });
        }
        let (big, small) = if a.1 >= b.1 { (a, b) } else { (b, a) };
        // 62 guard bits below the larger operand; whatever falls off those only matters as "not exactly".
        let shift = (big.1 - small.1) as u32;
        let high = (big.0 as u128) << 62;
        let wide = (small.0 as u128) << 62;
        let low = match shift {
            0..=127 => wide >> shift | u128::from(wide & ((1u128 << shift) - 1) != 0),
            _ => 1,
        };
        let exponent = big.1 - 62;
        Some(if big.2 == small.2 {
            Extended { negative: big.2, ..rounded(high + low, exponent, false) }
        } else {
            match high.cmp(&low) {
                Ordering::Equal => rounded(0, 0, false),
                Ordering::Greater => Extended { negative: big.2, ..rounded(high - low, exponent, false) },
                Ordering::Less => Extended { negative: small.2, ..rounded(low - high, exponent, false) },
            }
        })
    }

    /// The text with up to 17 decimals (exactly rounded, half to even), trailing zeros removed; `0` for what rounds
    /// to zero, also from below; `inf` and `-inf`.
    pub fn text(self) -> Vec<u8> {
        let sign: &[u8] = if self.negative { b"-" } else { b"" };
        let Kind::Finite { significand, exponent } = self.kind else {
            return [sign, b"inf"].concat();
        };
        if exponent >= 0 {
            let mut value = Big::from(significand);
            value.shift_left(exponent as u32);
            return [sign, &value.decimal()].concat();
        }
        const SCALE: u128 = 100_000_000_000_000_000;
        // At most 64 + 57 bits.
        let scaled = significand as u128 * SCALE;
        let shift = exponent.unsigned_abs();
        let units = if shift > 127 { 0 } else { shift_right_to_even(scaled, shift) };
        if units == 0 {
            return b"0".to_vec();
        }
        let mut text = format!("{}.{:017}", units / SCALE, units % SCALE).into_bytes();
        while text.last() == Some(&b'0') {
            text.pop();
        }
        if text.last() == Some(&b'.') {
            text.pop();
        }
        [sign, &text].concat()
    }
}

fn shift_right_to_even(value: u128, shift: u32) -> u128 {
    if shift == 0 {
        return value;
    }
    let (kept, lost) = (value >> shift, value & ((1 << shift) - 1));
    let half = 1u128 << (shift - 1);
    kept + u128::from(lost > half || (lost == half && kept & 1 == 1))
}

/// The positive number nearest to value * 2^exponent, where `inexact` says that the true value is a little more.
fn rounded(value: u128, exponent: i32, inexact: bool) -> Extended {
    let finite =
        |significand, exponent| Extended { negative: false, kind: Kind::Finite { significand, exponent } };
    if value == 0 {
        return finite(0, EXPONENT_MIN);
    }
    // Make the top bit bit 127, and fold what is missing into the lowest bit, far below any rounding position.
    let up = value.leading_zeros();
    let value = value << up | u128::from(inexact);
    let exponent = exponent - up as i32;
    // Keep 64 bits, or fewer where the exponent cannot go lower.
    let drop = (EXPONENT_MIN - exponent).max(64);
    let shift = drop.min(127) as u32;
    let kept = if drop > 128 {
        0
    } else if drop == 128 {
        u128::from(value > 1 << 127)
    } else {
        shift_right_to_even(value, shift)
    };
    let mut exponent = exponent + drop;
    let mut significand = kept;
    if significand >> 64 != 0 {
        significand >>= 1;
        exponent += 1;
    }
    if exponent > EXPONENT_MAX {
        return Extended { negative: false, kind: Kind::Infinite };
    }
    finite(significand as u64, exponent)
}

/// Splits off `e` or `p` and a signed decimal exponent; the exponent saturates far outside the range.
fn split_exponent(text: &[u8], marks: [u8; 2]) -> Option<(&[u8], i64)> {
    let Some(at) = text.iter().position(|b| marks.contains(b)) else {
        return Some((text, 0));
    };
    let (negative, digits) = match &text[at + 1..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |v, d| (v * 10 + (d - b'0') as i64).min(1_000_000));
    Some((&text[..at], if negative { -value } else { value }))
}

/// Splits at the point, checks the digits: (all digits, digits after the point).
fn split_point(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(Vec<u8>, usize)> {
    let at = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = match at {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[..0]),
    };
    let digits = [whole, fraction].concat();
    (!digits.is_empty() && digits.iter().all(is_digit)).then_some((digits, fraction.len()))
}

/// Refuses what overflowed, or became zero although it is not.
fn in_range(value: Extended) -> Option<Extended> {
    match value.kind {
        Kind::Infinite | Kind::Finite { significand: 0, .. } => None,
        _ => Some(value),
    }
}

fn parse_hex(text: &[u8]) -> Option<Extended> {
    let (mantissa, exponent) = split_exponent(text, [b'p', b'P'])?;
    let (digits, decimals) = split_point(mantissa, u8::is_ascii_hexdigit)?;
    let significant = digits.iter().skip_while(|d| **d == b'0');
    let (mut value, mut lost, mut inexact) = (0u128, 0i64, false);
    for d in significant {
        let d = (*d as char).to_digit(16)? as u128;
        if value >> 120 == 0 {
            value = value << 4 | d;
        } else {
            lost += 1;
            inexact |= d != 0;
        }
    }
    if value == 0 {
        return Some(rounded(0, 0, false));
    }
    let exponent = exponent + 4 * (lost - decimals as i64);
    in_range(rounded(value, exponent.clamp(-1_000_000, 1_000_000) as i32, inexact))
}

fn parse_decimal(text: &[u8]) -> Option<Extended> {
    let (mantissa, exponent) = split_exponent(text, [b'e', b'E'])?;
    let (digits, decimals) = split_point(mantissa, u8::is_ascii_digit)?;
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    let digits = &digits[zeros..];
    if digits.is_empty() {
        return Some(rounded(0, 0, false));
    }
    let exponent = exponent - decimals as i64;
    // Far outside the range: decide without computing with huge powers.
    let magnitude = digits.len() as i64 + exponent;
    if !(-5_000..=5_000).contains(&magnitude) {
        return None;
    }
    let mut numerator = Big::from_decimal(digits);
    let mut denominator = Big::from(1);
    if exponent >= 0 {
        numerator.times_power_of_ten(exponent as u32);
    } else {
        denominator.times_power_of_ten(exponent.unsigned_abs() as u32);
    }
    in_range(quotient(numerator, denominator))
}

/// numerator / denominator, correctly rounded. Both are positive.
fn quotient(mut numerator: Big, mut denominator: Big) -> Extended {
    // Align so that the quotient lies in [1/2, 2), then produce 80 bits by shift and subtract.
    const BITS: i32 = 80;
    let scale = numerator.bits() as i32 - denominator.bits() as i32;
    if scale >= 0 {
        denominator.shift_left(scale as u32);
    } else {
        numerator.shift_left(scale.unsigned_abs());
    }
    let mut value = 0u128;
    for _ in 0..BITS {
        value <<= 1;
        if numerator.try_subtract(&denominator) {
            value |= 1;
        }
        numerator.shift_left(1);
    }
    rounded(value, scale - (BITS - 1), !numerator.is_zero())
}

/// An unsigned integer of any size: 32-bit limbs, least significant first, no leading zero limbs.
struct Big(Vec<u32>);

impl Big {
    fn from(value: u64) -> Self {
        let mut big = Big(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big
    }

    fn from_decimal(digits: &[u8]) -> Self {
        let mut big = Big(vec![]);
        for group in digits.chunks(9) {
            let value = group.iter().fold(0, |v, d| v * 10 + (d - b'0') as u32);
            big.multiply_add(10u32.pow(group.len() as u32), value);
        }
        big
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        self.0.len() * 32 - self.0.last().map_or(0, |top| top.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = addend as u64;
        for limb in &mut self.0 {
            let product = *limb as u64 * factor as u64 + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power_of_ten(&mut self, exponent: u32) {
        for _ in 0..exponent / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        self.multiply_add(10u32.pow(exponent % 9), 0);
    }

    fn shift_left(&mut self, bits: u32) {
        if !bits.is_multiple_of(32) {
            let mut carry = 0;
            for limb in &mut self.0 {
                let wide = (*limb as u64) << (bits % 32) | carry;
                *limb = wide as u32;
                carry = wide >> 32;
            }
            if carry != 0 {
                self.0.push(carry as u32);
            }
        }
        if bits >= 32 && !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, bits as usize / 32));
        }
    }

    /// Subtracts `other` if that leaves a non-negative value; says whether it did.
    fn try_subtract(&mut self, other: &Big) -> bool {
        let order =
            self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()));
        if order == Ordering::Less {
            return false;
        }
        let mut borrow = 0i64;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let difference = *limb as i64 - other.0.get(i).map_or(0, |l| *l as i64) + borrow;
            *limb = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
        true
    }

    fn decimal(mut self) -> Vec<u8> {
        let mut groups = vec![];
        while !self.is_zero() {
            let mut rest = 0u64;
            for limb in self.0.iter_mut().rev() {
                let wide = rest << 32 | *limb as u64;
                *limb = (wide / 1_000_000_000) as u32;
                rest = wide % 1_000_000_000;
            }
            self.trim();
            groups.push(rest);
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text.into_bytes()
    }
}
