//! Numbers: what is parsed prints as something that parses to the same.

use skuld::config::values;
use skuld::resp::decode;
use skuld::rng::Rng;
use skuld::types::number::{f64_as_i64, f64_text, fixed4_text, human_text, parse_f64, parse_i64};

pub fn run(data: &[u8]) {
    let integer = parse_i64(data);
    assert_eq!(integer, decode::parse_integer(data), "both parsers of integers agree");
    let by_std = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse::<i64>().ok().filter(|n| n.to_string() == text));
    assert_eq!(integer, by_std, "an integer is canonical decimal text");
    if let Some(value) = parse_f64(data) {
        assert!(!value.is_nan());
        print(value);
    }
    if let Ok(bits) = <[u8; 8]>::try_from(data) {
        let value = f64::from_le_bytes(bits);
        if !value.is_nan() {
            print(value);
        }
    }
    if let Some(bytes) = values::parse_memory(data) {
        assert_eq!(values::parse_memory(values::format_memory(bytes).as_bytes()), Some(bytes));
    }
    let _ = (values::parse_integer(data), values::parse_c_integer(data), values::parse_octal(data));
    let _ = values::parse_fraction(data).map(values::format_fraction);
    let _ = skuld::commands::check::cursor_of(data);
}

fn print(value: f64) {
    let text = f64_text(value);
    let back = parse_f64(&text)
        .unwrap_or_else(|| panic!("{value:?} prints as {:?}", String::from_utf8_lossy(&text)));
    assert_eq!(back, value, "printed as {:?}", String::from_utf8_lossy(&text));
    if let Some(integer) = f64_as_i64(value) {
        assert_eq!(integer as f64, value);
    }
    assert!(!fixed4_text(value).is_empty() && !human_text(value).is_empty());
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => rng.next_u64().to_le_bytes().to_vec(),
        1 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into_bytes(),
        2 => f64::from_bits(rng.next_u64()).to_string().into_bytes(),
        _ => {
            let mut text = Vec::new();
            for _ in 0..=rng.below(3) {
                text.extend_from_slice(crate::pick(rng, WORDS));
            }
            text
        }
    }
}

const WORDS: &[&[u8]] = &[
    b"0",
    b"-0",
    b"1",
    b"-",
    b"+",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"1e308",
    b"1e-400",
    b"inf",
    b"-INFINITY",
    b"nan",
    b"0x1p3",
    b".5",
    b"5.",
    b"e",
    b" ",
    b"1gb",
    b"kb",
    b"10%",
    b"077",
    b"k",
];

pub fn words() -> Vec<&'static [u8]> {
    WORDS.to_vec()
}
