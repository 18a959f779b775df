//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, ACL key rules and CONFIG GET understand them.
//!
//! `*` any run of bytes, `?` one byte, `[abc]` one of a set, `[a-z]` a range (its ends in either order), `[^abc]`
//! anything else, `\x` the byte x itself. Everything works on bytes, never on characters. An unclosed `[` counts
//! as closed at the end of the pattern, and a lone `\` at the end stands for itself.
//!
//! As in the reference server, the empty text is matched by the empty pattern alone; commands for which a lone `*`
//! means "all" (KEYS, SCAN) skip matching instead.
//!
//! Invariant: time is bounded by `pattern.len() * text.len()`. Only the last `*` seen is ever retried: if what
//! follows it matches nowhere, starting an earlier `*` further right cannot help.

/// How letters compare. Only ASCII letters have two cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Ignore,
}

/// Patterns with more separated `*` than this match nothing, as in the reference server.
const STARS_MAX: usize = 1000;

/// Whether the whole of `text` matches `pattern`, letters compared exactly.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_case(pattern, text, Case::Sensitive)
}

/// Whether the whole of `text` matches `pattern`, ASCII letters of either case being equal. A byte escaped inside
/// a set still compares exactly, as in the reference server.
pub fn matches_ignore_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_case(pattern, text, Case::Ignore)
}

/// Whether the whole of `text` matches `pattern`.
pub fn matches_case(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume after a mismatch: the pattern after the last star, and the text that star has not eaten.
    let mut resume: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        let mut matched = true;
        while matched && p < pattern.len() && t < text.len() {
            if pattern[p] == b'*' {
                while pattern.get(p + 1) == Some(&b'*') {
                    p += 1;
                }
                p += 1;
                if p == pattern.len() {
                    return true;
                }
                stars += 1;
                if stars > STARS_MAX {
                    return false;
                }
                resume = Some((p, t));
                continue;
            }
            let (hit, after) = match_one(&pattern[p..], text[t], case);
            matched = hit;
            if hit {
                p += after;
                t += 1;
                if t == text.len() {
                    while pattern.get(p) == Some(&b'*') {
                        p += 1;
                    }
                }
            }
        }
        if matched && p == pattern.len() && t == text.len() {
            return true;
        }
        match resume {
            Some((after_star, from)) if from + 1 < text.len() => {
                p = after_star;
                t = from + 1;
                resume = Some((p, t));
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the element that `pattern` (not empty, not at a star) begins with; returns the
/// verdict and the element's length.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    match pattern[0] {
        b'?' => (true, 1),
        b'[' => match_set(pattern, byte, case),
        b'\\' if pattern.len() >= 2 => (equal(pattern[1], byte, case), 2),
        literal => (equal(literal, byte, case), 1),
    }
}

fn match_set(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    while at < pattern.len() {
        let rest = &pattern[at..];
        if rest[0] == b'\\' && rest.len() >= 2 {
            found |= rest[1] == byte;
            at += 2;
        } else if rest[0] == b']' {
            at += 1;
            break;
        } else if rest.len() >= 3 && rest[1] == b'-' {
            found |= in_range(rest[0], rest[2], byte, case);
            at += 3;
        } else {
            found |= equal(rest[0], byte, case);
            at += 1;
        }
    }
    (found != negated, at)
}

fn in_range(start: u8, end: u8, byte: u8, case: Case) -> bool {
    // The ends are ordered before the case is folded, as in the reference server.
    let (low, high) = if start <= end { (start, end) } else { (end, start) };
    (fold(low, case)..=fold(high, case)).contains(&fold(byte, case))
}

fn equal(a: u8, b: u8, case: Case) -> bool {
    fold(a, case) == fold(b, case)
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Ignore => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn yes(pattern: &str, text: &str) {
        assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern:?} should match {text:?}");
    }

    fn no(pattern: &str, text: &str) {
        assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern:?} should not match {text:?}");
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [
            ("", ""),
            ("*", "a"),
            ("**", "abc"),
            ("a*", "a"),
            ("a*c", "abcbc"),
            ("*b*", "abc"),
            ("h?llo", "hello"),
            ("a**", "a"),
            ("?*?", "ab"),
            ("*a*b*c", "xaybzbc"),
        ] {
            yes(pattern, text);
        }
        for (pattern, text) in
            [("", "a"), ("a", ""), ("?", ""), ("a*c", "abcb"), ("h?llo", "hllo"), ("?*?", "a"), ("*", "")]
        {
            no(pattern, text);
        }
    }

    #[test]
    fn sets_ranges_and_escapes() {
        yes("h[ae]llo", "hallo");
        no("h[ae]llo", "hillo");
        yes("h[^e]llo", "hbllo");
        no("h[^e]llo", "hello");
        yes("h[b-a]llo", "hallo");
        yes("[ab", "a");
        yes("[a-", "-");
        yes("[\\]]", "]");
        yes("\\*", "*");
        no("\\*", "x");
        yes("a\\", "a\\");
        yes("[^]", "x");
        no("[]", "x");
    }

    #[test]
    fn case_folding_spares_escaped_bytes_of_sets() {
        assert!(matches_ignore_case(b"HeLLo[A-Z]", b"hElloq"));
        assert!(matches_ignore_case(b"\\A", b"a"));
        assert!(!matches_ignore_case(b"[\\A]", b"a"));
    }

    #[test]
    fn hostile_pattern_ends_soon() {
        let pattern = [b"a*".repeat(900), b"b".to_vec()].concat();
        let text = vec![b'a'; 20_000];
        assert!(!matches(&pattern, &text));
    }

    #[test]
    fn too_many_stars_match_nothing() {
        let many = [b"a*".repeat(1001), b"a".to_vec()].concat();
        assert!(!matches(&many, &[b'a'; 3000]));
        let few = [b"a*".repeat(1000), b"a".to_vec()].concat();
        assert!(matches(&few, &[b'a'; 3000]));
    }

    proptest! {
        #[test]
        fn literal_text_matches_itself_escaped(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(matches(&escaped, &text));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            pattern in proptest::collection::vec(prop_oneof![
                Just(b'*'), Just(b'?'), Just(b'['), Just(b']'), Just(b'^'), Just(b'-'), Just(b'\\'), any::<u8>()
            ], 0..20),
            text in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let exact = matches(&pattern, &text);
            prop_assert_eq!(exact, matches_case(&pattern, &text, Case::Sensitive));
            matches_ignore_case(&pattern, &text);
        }
    }
}
