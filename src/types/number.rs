//! Numbers as Valkey reads and prints them.

/// Parses the canonical decimal form of an `i64`: no sign `+`, no leading zeros, no `-0`, no spaces.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 19 => {}
        _ => return None,
    }
    let mut value = 0u64;
    for d in digits {
        let d = d.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        // At most 19 digits: cannot overflow u64.
        value = value * 10 + d as u64;
    }
    match (negative, value) {
        (false, v) => i64::try_from(v).ok(),
        (true, v) if v <= 1 << 63 => Some((v as i64).wrapping_neg()),
        (true, _) => None,
    }
}

/// Parses a double as Valkey reads scores and ranges: decimal or exponent form, `inf`/`infinity` in any case; no
/// spaces, no hexadecimal, no NaN, and neither overflow nor underflow to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let digits = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    let named = digits.first().is_some_and(u8::is_ascii_alphabetic);
    if value.is_nan() || (value.is_infinite() && !named) {
        return None;
    }
    if value == 0.0 {
        let mantissa = digits.split(|b| matches!(b, b'e' | b'E')).next()?;
        if mantissa.iter().any(|b| matches!(b, b'1'..=b'9')) {
            return None;
        }
    }
    Some(value)
}

/// The integer a double is, within the range that Valkey prints and stores as integers (magnitude at most 2^62).
/// Negative zero counts as 0.
pub fn f64_as_i64(value: f64) -> Option<i64> {
    const LIMIT: f64 = (i64::MAX / 2) as f64;
    if !(-LIMIT..=LIMIT).contains(&value) {
        return None;
    }
    let integer = value as i64;
    (integer as f64 == value).then_some(integer)
}

/// Room for the text of a double.
#[derive(Clone)]
pub struct F64Buffer {
    text: [u8; 32],
}

impl Default for F64Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl F64Buffer {
    pub fn new() -> Self {
        F64Buffer { text: [0; 32] }
    }

    /// The text of `value` as ZSCORE prints it, in RESP2 and RESP3: `inf`, `-inf`, `nan`, `-0`, integers up to 2^62
    /// in full, otherwise few digits with an exponent where Valkey uses one.
    pub fn format(&mut self, value: f64) -> &[u8] {
        if value.is_nan() {
            return b"nan";
        }
        if value.is_infinite() {
            return if value > 0.0 { b"inf" } else { b"-inf" };
        }
        if value == 0.0 {
            return if value.is_sign_negative() { b"-0" } else { b"0" };
        }
        if let Some(integer) = f64_as_i64(value) {
            let mut buffer = itoa::Buffer::new();
            let text = buffer.format(integer).as_bytes();
            self.text[..text.len()].copy_from_slice(text);
            return &self.text[..text.len()];
        }
        let len = self.layout(value);
        &self.text[..len]
    }

    /// As [`F64Buffer::format`], but large round integers are short too: `1e+8`. Signatures of values are made of it.
    pub fn format_shortest(&mut self, value: f64) -> &[u8] {
        if !value.is_finite() || value == 0.0 {
            return self.format(value);
        }
        let len = self.layout(value);
        &self.text[..len]
    }

    /// Places the digits: plain, with a decimal point, or with an exponent.
    fn layout(&mut self, value: f64) -> usize {
        let mut digits = [0u8; 20];
        let (count, k) = super::grisu::digits(value.abs(), &mut digits);
        let digits = &digits[..count];
        let mut out = Cursor { text: &mut self.text, len: 0 };
        if value < 0.0 {
            out.put(b"-");
        }
        let exponent = k + count as i32 - 1;
        if k >= 0 && exponent.abs() < count as i32 + 7 {
            out.put(digits);
            out.zeros(k as usize);
        } else if k < 0 && (k > -7 || exponent.abs() < 4) {
            let point = count as i32 + k;
            if point <= 0 {
                out.put(b"0.");
                out.zeros(-point as usize);
                out.put(digits);
            } else {
                out.put(&digits[..point as usize]);
                out.put(b".");
                out.put(&digits[point as usize..]);
            }
        } else {
            out.put(&digits[..1]);
            if count > 1 {
                out.put(b".");
                out.put(&digits[1..]);
            }
            out.put(if exponent < 0 { b"e-" } else { b"e+" });
            out.put(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
        }
        out.len
    }
}

struct Cursor<'a> {
    text: &'a mut [u8; 32],
    len: usize,
}

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.text[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn zeros(&mut self, n: usize) {
        self.text[self.len..self.len + n].fill(b'0');
        self.len += n;
    }
}

/// The text of `value` as ZSCORE prints it.
pub fn f64_text(value: f64) -> Vec<u8> {
    F64Buffer::new().format(value).to_vec()
}

/// `value` with exactly four decimals, as GEODIST prints distances. Rounds half to even after scaling.
pub fn fixed4_text(value: f64) -> Vec<u8> {
    let scaled = (value * 10_000.0).round_ties_even() as i64;
    let magnitude = scaled.unsigned_abs();
    let sign = if scaled < 0 { "-" } else { "" };
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000).into_bytes()
}

/// `value` with 17 significant digits as C's `%.17g` prints it: ZSCAN's scores of large sorted sets.
pub fn general17_text(value: f64) -> Vec<u8> {
    general_text(value, 17)
}

/// `value` with so many significant digits (at least one), as C's `%.{digits}g` prints it.
pub fn general_text(value: f64, digits: usize) -> Vec<u8> {
    let digits = digits.max(1);
    if !value.is_finite() || value == 0.0 {
        return f64_text(value);
    }
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').expect("an exponent is part of the format");
    let exponent: i32 = exponent.parse().expect("the exponent of a double is a small integer");
    let trimmed = |text: &str| {
        if !text.contains('.') {
            return text.to_owned();
        }
        let text = text.trim_end_matches('0');
        text.strip_suffix('.').unwrap_or(text).to_owned()
    };
    if (-4..digits as i32).contains(&exponent) {
        return trimmed(&format!("{value:.*}", (digits as i32 - 1 - exponent) as usize)).into_bytes();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs()).into_bytes()
}

/// `value` with up to 17 decimals and no trailing zeros, as GEOPOS prints coordinates.
pub fn human_text(value: f64) -> Vec<u8> {
    super::extended::Extended::from_f64(value).text()
}

#[cfg(test)]
#[path = "number_tests.rs"]
mod tests;
