//! Numbers, sizes and shares as configuration spells them.

/// Parses a size in bytes: digits and one of the units `b`, `k` (1000), `kb` (1024), `m`, `mb`, `g`, `gb`. As in the
/// reference server no digits mean 0 and a product beyond 64 bits wraps.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let mut value: u64 = 0;
    for digit in &text[..digits] {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value.wrapping_mul(unit))
}

/// Writes a size with the largest unit that divides it, as CONFIG REWRITE does.
pub fn format_memory(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Parses a 64-bit integer written in its only canonical way: no plus sign, no blanks, no leading zeros.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

/// Parses an integer as C's `strtoll` does, the whole text being consumed: leading blanks, a sign and leading zeros
/// are fine, nothing at all is 0, and out-of-range values stick to the nearest end.
pub fn parse_c_integer(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let text = &text[text.iter().position(|byte| !super::split::is_blank(*byte))?..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = i64::from(digit - b'0');
        value = value.saturating_mul(10);
        value = if negative { value.saturating_sub(digit) } else { value.saturating_add(digit) };
    }
    Some(value)
}

/// Parses permission bits written in base 8.
pub fn parse_octal(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    i64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// Parses a decimal number or the word "inf"; "nan", hexadecimal, and digits too many for a double are refused.
pub fn parse_fraction(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let overflow = number.is_infinite() && text.iter().any(u8::is_ascii_digit);
    (!number.is_nan() && !overflow).then_some(number)
}

/// Writes a fraction with at most six decimals and no trailing zeros.
pub fn format_fraction(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1k", 1000),
            ("1kb", 1024),
            ("2M", 2_000_000),
            ("2Mb", 2 << 20),
            ("3g", 3_000_000_000),
            ("3GB", 3 << 30),
            ("10b", 10),
            ("", 0),
            ("b", 0),
            ("18446744073709551615", u64::MAX),
            ("17179869184gb", 0),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in ["-1", "1.5gb", "1tb", "x", "1 kb", "18446744073709551616"] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text}");
        }
        for (bytes, text) in [(0, "0"), (1024, "1kb"), (3 << 20, "3mb"), (1 << 30, "1gb"), (1500, "1500")] {
            assert_eq!(format_memory(bytes), text);
        }
    }

    #[test]
    fn integers_are_canonical() {
        assert_eq!(parse_integer(b"-5"), Some(-5));
        for text in ["", "+5", "05", "-0", " 1", "1 ", "1.5", "9223372036854775808", "0x1"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn c_integers_are_lenient_and_saturate() {
        assert_eq!(parse_c_integer(b" +010"), Some(10));
        assert_eq!(parse_c_integer(b""), Some(0));
        assert_eq!(parse_c_integer(b"99999999999999999999"), Some(i64::MAX));
        assert_eq!(parse_c_integer(b"-99999999999999999999"), Some(i64::MIN));
        assert_eq!(parse_c_integer(b"1x"), None);
        assert_eq!(parse_c_integer(b"-"), None);
    }

    #[test]
    fn fractions() {
        assert_eq!(format_fraction(99.12345678901234), "99.123457");
        assert_eq!(format_fraction(10.0), "10");
        assert_eq!(format_fraction(0.0), "0");
        assert_eq!(parse_fraction(b"1e1"), Some(10.0));
        assert_eq!(parse_fraction(b"5."), Some(5.0));
        assert_eq!(parse_fraction(b"nan"), None);
        assert_eq!(parse_fraction(b"0x10"), None);
        assert_eq!(parse_fraction(b""), None);
    }
}
