//! What the debugger of scripts says and hears: requests out of a stream of bytes, and replies and numbers as text. The
//! debugger itself, which needs a machine, is an actor's.

use std::ops::ControlFlow;

/// Words that a request may have, and bytes that a word may have.
const WORDS_MAX: usize = 1024;
const WORD_BYTES_MAX: usize = 1024;
/// Replies in replies that are shown.
const DEPTH_MAX: u32 = 64;

/// What is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense;

/// Takes the next request out of `input`; `None` if it is not complete. Only arrays of words that are not empty are
/// understood.
pub fn take_request(input: &mut Vec<u8>) -> Result<Option<Vec<Vec<u8>>>, Nonsense> {
    let Some(mut rest) = Some(input.as_slice()).filter(|input| !input.is_empty()) else { return Ok(None) };
    let Some(count) = take_length(&mut rest, b'*', WORDS_MAX)? else { return Ok(None) };
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(length) = take_length(&mut rest, b'$', WORD_BYTES_MAX)? else { return Ok(None) };
        let Some((word, behind)) = rest.split_at_checked(length) else { return Ok(None) };
        if behind.len() < 2 {
            return Ok(None);
        }
        words.push(word.to_vec());
        rest = behind.strip_prefix(b"\r\n").ok_or(Nonsense)?;
    }
    let taken = input.len() - rest.len();
    input.drain(..taken);
    Ok(Some(words))
}

/// Takes a line of a mark and a number from 1 to `max`; `None` if it is not complete.
fn take_length(rest: &mut &[u8], mark: u8, max: usize) -> Result<Option<usize>, Nonsense> {
    /// More digits are no number that is allowed.
    const LINE_MAX: usize = 32;
    match rest.first() {
        None => return Ok(None),
        Some(first) if *first != mark => return Err(Nonsense),
        Some(_) => {}
    }
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
        return if rest.len() > LINE_MAX { Err(Nonsense) } else { Ok(None) };
    };
    let number = crate::types::number::parse_i64(&rest[1..end]).and_then(|n| usize::try_from(n).ok());
    let number = number.filter(|number| (1..=max).contains(number)).ok_or(Nonsense)?;
    *rest = &rest[end + 2..];
    Ok(Some(number))
}

/// Appends a text in quotes, with escapes for what cannot be printed.
pub fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            byte if byte.is_ascii_graphic() || *byte == b' ' => out.push(*byte),
            byte => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    out.push(b'"');
}

/// Appends an encoded reply as text.
pub fn put_reply(out: &mut Vec<u8>, mut reply: &[u8]) {
    // What ends too early is shown as far as it goes.
    let _ = put_value(out, &mut reply, 0);
}

fn put_value(out: &mut Vec<u8>, rest: &mut &[u8], depth: u32) -> ControlFlow<()> {
    let line = take_line(rest)?;
    let Some((mark, text)) = line.split_first().filter(|_| depth <= DEPTH_MAX) else {
        return ControlFlow::Break(());
    };
    let count = crate::types::number::parse_i64(text);
    match mark {
        b'+' | b'-' => put_quoted(out, line),
        b':' => out.extend(text),
        b',' => out.extend([b"(double) ", text].concat()),
        b'(' => out.extend([b"(bignum) ", text].concat()),
        b'#' => out.extend(if text == b"t" { b"#true".as_slice() } else { b"#false" }),
        b'_' => out.extend(b"(null)"),
        b'$' | b'=' | b'*' if count == Some(-1) => out.extend(b"NULL"),
        b'$' | b'=' => {
            let length = count.and_then(|n| usize::try_from(n).ok()).filter(|n| *n + 2 <= rest.len());
            let Some(length) = length else { return ControlFlow::Break(()) };
            put_quoted(out, &rest[..length]);
            *rest = &rest[length + 2..];
        }
        b'*' | b'>' => put_items(out, rest, count, (b"[", b"]"), depth)?,
        b'~' => put_items(out, rest, count, (b"~(", b")"), depth)?,
        b'%' => {
            out.push(b'{');
            for number in 0..count.unwrap_or(0) {
                if number > 0 {
                    out.push(b',');
                }
                put_value(out, rest, depth + 1)?;
                out.extend(b" => ");
                put_value(out, rest, depth + 1)?;
            }
            out.push(b'}');
        }
        _ => return ControlFlow::Break(()),
    }
    ControlFlow::Continue(())
}

fn put_items(
    out: &mut Vec<u8>,
    rest: &mut &[u8],
    count: Option<i64>,
    (open, close): (&[u8], &[u8]),
    depth: u32,
) -> ControlFlow<()> {
    out.extend(open);
    for number in 0..count.unwrap_or(0) {
        if number > 0 {
            out.push(b',');
        }
        put_value(out, rest, depth + 1)?;
    }
    out.extend(close);
    ControlFlow::Continue(())
}

fn take_line<'a>(rest: &mut &'a [u8]) -> ControlFlow<(), &'a [u8]> {
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return ControlFlow::Break(()) };
    let (line, behind) = (&rest[..end], &rest[end + 2..]);
    *rest = behind;
    ControlFlow::Continue(line)
}

/// A number with six significant digits, as C's `%g` has it.
pub fn short_number(number: f64) -> String {
    const DIGITS: i32 = 6;
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) =
        scientific.split_once('e').expect("a number in scientific form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    let without_zeros = |text: &str| -> String {
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        text.to_owned()
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return without_zeros(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_arrays_of_words() {
        let mut input = b"*1\r\n$1\r\ns\r\n*2\r\n$1\r\np\r\n$2\r\nab\r\n*1\r\n$4\r\nst".to_vec();
        assert_eq!(take_request(&mut input), Ok(Some(vec![b"s".to_vec()])));
        assert_eq!(take_request(&mut input), Ok(Some(vec![b"p".to_vec(), b"ab".to_vec()])));
        assert_eq!(take_request(&mut input), Ok(None));
        for nonsense in [
            b"step\r\n".as_slice(),
            b"*0\r\n",
            b"*1025\r\n",
            b"*1\r\n$0\r\n\r\n",
            b"*1\r\n$1025\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$1\r\nabc",
            b"*11111111111111111111111111111111",
        ] {
            assert_eq!(take_request(&mut nonsense.to_vec()), Err(Nonsense), "{nonsense:?}");
        }
    }

    #[test]
    fn replies_are_shown_in_short() {
        let shown = |reply: &[u8]| {
            let mut out = Vec::new();
            put_reply(&mut out, reply);
            String::from_utf8(out).expect("printable")
        };
        assert_eq!(shown(b"+OK\r\n"), r#""+OK""#);
        assert_eq!(shown(b"-ERR no\r\n"), r#""-ERR no""#);
        assert_eq!(shown(b"$4\r\na\0\"\xff\r\n"), r#""a\x00\"\xff""#);
        assert_eq!(shown(b"*3\r\n:1\r\n$-1\r\n*1\r\n$1\r\na\r\n"), r#"[1,NULL,["a"]]"#);
        assert_eq!(shown(b"%1\r\n$1\r\nf\r\n,1.5\r\n"), r#"{"f" => (double) 1.5}"#);
        assert_eq!(shown(b"~2\r\n_\r\n#t\r\n"), "~((null),#true)");
        assert_eq!(shown(b"*2\r\n:1\r\n"), "[1,");
    }

    #[test]
    fn numbers_have_six_digits() {
        let cases = [
            (1_234_567.89, "1.23457e+06"),
            (9_007_199_254_740_992.0, "9.0072e+15"),
            (1e100, "1e+100"),
            (-0.1, "-0.1"),
            (1.0 / 3.0, "0.333333"),
            (100_000.0, "100000"),
            (0.00001, "1e-05"),
            (0.0001, "0.0001"),
            (0.0, "0"),
            (42.0, "42"),
            (999_999.5, "1e+06"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number, text) in cases {
            assert_eq!(short_number(number), text);
        }
    }
}
