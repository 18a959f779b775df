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
