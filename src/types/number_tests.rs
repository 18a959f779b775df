use super::super::extended::Extended;
use super::*;
use proptest::prelude::*;

fn ascii(text: Vec<u8>) -> String {
    String::from_utf8(text).expect("numbers are ASCII")
}

fn extended(text: &[u8]) -> Extended {
    Extended::parse(text).expect("a number")
}

#[test]
fn integers_are_read_strictly() {
    for (text, want) in [
        ("0", Some(0)),
        ("-0", None),
        ("", None),
        ("-", None),
        ("+1", None),
        ("01", None),
        ("-01", None),
        (" 1", None),
        ("1 ", None),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("-9223372036854775808", Some(i64::MIN)),
        ("-9223372036854775809", None),
        ("99999999999999999999", None),
        ("12a", None),
    ] {
        assert_eq!(parse_i64(text.as_bytes()), want, "{text:?}");
    }
}

/// Accepted and refused by ZADD of Valkey 9.1.2.
#[test]
fn doubles_are_read_as_valkey_does() {
    for (text, want) in [
        ("1E5", Some(1e5)),
        ("+3", Some(3.0)),
        (".5", Some(0.5)),
        ("5.", Some(5.0)),
        ("INF", Some(f64::INFINITY)),
        ("-infinity", Some(f64::NEG_INFINITY)),
        ("0e500", Some(0.0)),
        ("2.4703282292062328e-324", Some(5e-324)),
        ("1.7976931348623158e308", Some(f64::MAX)),
        ("2.4703282292062327e-324", None),
        ("1.7976931348623159e308", None),
        ("1e309", None),
        ("1e-400", None),
        ("nan", None),
        ("-nan", None),
        ("infinit", None),
        ("0x10", None),
        (" 1", None),
        ("1 ", None),
        ("", None),
        (".", None),
        ("1e", None),
        ("1e+", None),
        ("1\0", None),
    ] {
        assert_eq!(parse_f64(text.as_bytes()), want, "{text:?}");
    }
}

/// Printed by ZSCORE of Valkey 9.1.2, including digits that are not the shortest.
#[test]
fn doubles_are_printed_as_valkey_does() {
    for (value, want) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (1e17, "100000000000000000"),
        (123_456_789_012_345_678.0, "123456789012345680"),
        (4_611_686_018_427_387_904.0, "4611686018427387904"),
        (5e18, "5e+18"),
        (1e-5, "0.00001"),
        (1e-7, "1e-7"),
        (0.000_012_34, "1.234e-5"),
        (5e-324, "5e-324"),
        (2.225_073_858_507_201e-308, "2.225073858507201e-308"),
        (f64::MAX, "1.7976931348623157e+308"),
        (100_000_000.5, "100000000.5"),
        (0.1, "0.1"),
        (2_084_240_533_106_313.8, "2084240533106313.7"),
        (-259_186_154_549_596.88, "-259186154549596.87"),
        (654_403_223_096_538.8, "654403223096538.7"),
    ] {
        assert_eq!(ascii(f64_text(value)), want);
    }
}

#[test]
fn distances_have_four_decimals() {
    for (value, want) in
        [(0.0, "0.0000"), (166_274.151_6, "166274.1516"), (0.000_05, "0.0000"), (1.0, "1.0000")]
    {
        assert_eq!(ascii(fixed4_text(value)), want);
    }
}

/// Printed by INCRBYFLOAT of Valkey 9.1.2 on x86-64.
#[test]
fn long_doubles_add_as_valkey_does() {
    for (a, b, want) in [
        ("10", "0.1", Some("10.1")),
        ("3", "0x10", Some("19")),
        ("5.0e3", "200", Some("5200")),
        ("-1", "1", Some("0")),
        ("-0.0", "0", Some("0")),
        ("1e-4940", "1", Some("1")),
        ("0.1", "0.2", Some("0.3")),
        ("0", "123456789.123456789", Some("123456789.12345678899873747")),
        ("9223372036854775807", "1", Some("9223372036854775808")),
        ("1e19", "1.5", Some("10000000000000000002")),
        (" 1", "1", None),
        ("1", "1e5000", None),
        ("1", "1e-5000", None),
        ("nan", "1", None),
    ] {
        let sum = || Some(Extended::parse(a.as_bytes())?.plus(Extended::parse(b.as_bytes())?)?.text());
        assert_eq!(sum().map(ascii).as_deref(), want, "{a} + {b}");
    }
    assert!(!extended(b"-inf").is_finite());
    assert_eq!(extended(b"inf").plus(extended(b"-inf")), None);
}

/// Random inputs and what Valkey 9.1.2 on x86-64 answered: `bits text` for ZSCORE, `a|b|reply` for SET a, INCRBYFLOAT b.
#[test]
fn recorded_answers_agree() {
    for line in include_str!("vectors/zscore.txt").lines() {
        let (bits, want) = line.split_once(' ').expect("bits and text");
        let value = f64::from_bits(bits.parse().expect("bits are an integer"));
        assert_eq!(ascii(f64_text(value)), want);
    }
    for line in include_str!("vectors/incrbyfloat.txt").lines() {
        let [a, b, want] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let numbers = (Extended::parse(a.as_bytes()), Extended::parse(b.as_bytes()));
        let got = match numbers {
            (Some(a), Some(b)) => match a.plus(b).filter(|sum| sum.is_finite()) {
                Some(sum) => ascii(sum.text()),
                None => "-ERR increment would produce NaN or Infinity".to_owned(),
            },
            _ => "-ERR value is not a valid float".to_owned(),
        };
        assert_eq!(got, want, "{a} + {b}");
    }
}

proptest! {
    #[test]
    fn printed_doubles_read_back(bits in any::<u64>(), small in -1e6f64..1e6) {
        for value in [f64::from_bits(bits), small, small.round()] {
            if value.is_finite() {
                let text = f64_text(value);
                prop_assert_eq!(parse_f64(&text), Some(value), "{}", String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn integers_read_back(value in any::<i64>(), noise in "[0-9 +-]{0,22}") {
        prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        let canonical = noise.parse::<i64>().ok().filter(|v| v.to_string() == noise);
        prop_assert_eq!(parse_i64(noise.as_bytes()), canonical);
    }

    #[test]
    fn long_double_sums_of_integers_are_exact(a in -(1i64 << 62)..1 << 62, b in -(1i64 << 62)..1 << 62) {
        let parse = |v: i64| extended(v.to_string().as_bytes());
        let sum = parse(a).plus(parse(b)).expect("integers have a sum");
        prop_assert_eq!(ascii(sum.text()), (a + b).to_string());
        prop_assert_eq!(Extended::from_f64(a as f64).text(), ((a as f64) as i64).to_string().into_bytes());
    }

    #[test]
    fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..40), digits in "[0-9.eExXp+-]{0,30}") {
        for t in [&text[..], digits.as_bytes()] {
            parse_f64(t);
            Extended::parse(t).map(Extended::text);
        }
    }
}

/// Recorded from ZSCAN of Valkey 9.1.2.
#[test]
fn seventeen_digits_are_printed_as_c_prints_them() {
    for (value, text) in [
        (0.1, "0.10000000000000001"),
        (1e20, "1e+20"),
        (12345678901234567890.0, "1.2345678901234567e+19"),
        (-0.0, "-0"),
        (1e-7, "9.9999999999999995e-08"),
        (f64::NEG_INFINITY, "-inf"),
        (17.0, "17"),
        (1e16, "10000000000000000"),
        (1e17, "1e+17"),
        (-2.5, "-2.5"),
        (1e-300, "1e-300"),
        (0.00002, "2.0000000000000002e-05"),
    ] {
        assert_eq!(String::from_utf8_lossy(&general17_text(value)), text);
    }
}
