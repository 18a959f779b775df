//! Patterns: the first line is the pattern, the rest the text.

use skuld::glob::{matches, matches_ignore_case};
use skuld::rng::Rng;

pub fn run(data: &[u8]) {
    let cut = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (pattern, text) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    let (exact, folded) = (matches(pattern, text), matches_ignore_case(pattern, text));
    if !pattern.iter().any(|b| b"*?[\\".contains(b)) {
        assert_eq!(exact, pattern == text, "without wildcards a pattern is a text");
        assert_eq!(folded, pattern.eq_ignore_ascii_case(text));
    }
    if !text.is_empty() {
        assert!(matches(b"*", text) && matches(b"*?*", text) && !matches(b"", text));
        let literal: Vec<u8> = text.iter().flat_map(|&b| [b'\\', b]).collect();
        assert!(matches(&literal, text), "an escaped text matches itself");
        if exact {
            // More stars than the limit match nothing, so only patterns far from it are extended.
            if pattern.len() < 900 {
                assert!(matches(&[b"*", pattern].concat(), text), "a star in front may match nothing");
            }
            let upper = text.to_ascii_uppercase();
            if !pattern.contains(&b'[') {
                assert!(matches_ignore_case(pattern, &upper), "case is ignored");
            }
        }
    }
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let mut data = Vec::new();
    for _ in 0..rng.below(12) {
        data.extend_from_slice(crate::pick(rng, WORDS));
    }
    data.push(b'\n');
    data.extend((0..rng.below(24)).map(|_| b"abcABC-]*?\\"[rng.below(11) as usize]));
    data
}

const WORDS: &[&[u8]] = &[
    b"*", b"?", b"[", b"]", b"[^", b"[a-c]", b"[c-a]", b"[^a]", b"\\", b"\\*", b"a", b"b", b"C", b"a*",
    b"**", b"-", b"[\\]]", b"[a-", b"\xff",
];

pub fn words() -> Vec<&'static [u8]> {
    WORDS.to_vec()
}
