//! JSON as the `cjson` library of scripts reads and writes it: its limits, its leniency and its messages.

use super::value::{Table, Value};
use crate::types::number::general_text;

/// What scripts can change about it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct JsonConfig {
    /// Arrays with too many holes become objects instead of an error.
    pub sparse_convert: bool,
    pub sparse_ratio: i32,
    pub sparse_safe: i32,
    pub encode_max_depth: i32,
    pub decode_max_depth: i32,
    /// 0: infinities and NaN are errors, 1: written as such, 2: written as `null`.
    pub encode_invalid_numbers: i32,
    pub decode_invalid_numbers: bool,
    pub number_precision: i32,
    pub keep_buffer: bool,
}

impl Default for JsonConfig {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_max_depth: 1000,
            decode_max_depth: 1000,
            encode_invalid_numbers: 0,
            decode_invalid_numbers: true,
            number_precision: 14,
            keep_buffer: true,
        }
    }
}

/// Levels beyond which nothing is read or written, whatever scripts ask for: each takes a piece of the stack.
pub const DEPTH_MAX: i32 = 2600;

/// Writes a value. The error is a message.
pub fn encode(config: &JsonConfig, value: &Value) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder { config, out: Vec::new() };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    config: &'a JsonConfig,
    out: Vec<u8>,
}

fn refuse(value: &Value, reason: &str) -> String {
    format!("Cannot serialise {}: {reason}", value.kind())
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: i32) -> Result<(), String> {
        match value {
            Value::Text(text) => self.text(text),
            Value::Number(number) => self.number(*number)?,
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Nil | Value::Null => self.out.extend_from_slice(b"null"),
            Value::Table(table) => {
                self.check_depth(depth + 1)?;
                self.table(value, table, depth + 1)?;
            }
            Value::TooDeep => {
                return Err(format!("Cannot serialise, excessive nesting ({})", depth + 1));
            }
            Value::Other(_) => return Err(refuse(value, "type not supported")),
        }
        Ok(())
    }

    fn check_depth(&self, depth: i32) -> Result<(), String> {
        if depth <= self.config.encode_max_depth.min(DEPTH_MAX) {
            return Ok(());
        }
        Err(format!("Cannot serialise, excessive nesting ({depth})"))
    }

    fn table(&mut self, value: &Value, table: &Table, depth: i32) -> Result<(), String> {
        let items = table.items().unwrap_or_default();
        let max = items.last().map_or(0.0, |(index, _)| *index);
        let ratio = f64::from(self.config.sparse_ratio);
        if ratio > 0.0 && max > items.len() as f64 * ratio && max > f64::from(self.config.sparse_safe) {
            if !self.config.sparse_convert {
                return Err(refuse(value, "excessively sparse array"));
            }
        } else if max >= 1.0 {
            return self.array(&items, max as usize, depth);
        }
        self.object(table, depth)
    }

    fn array(&mut self, items: &[(f64, &Value)], len: usize, depth: i32) -> Result<(), String> {
        self.out.push(b'[');
        let mut items = items.iter().peekable();
        for index in 1..=len {
            if index > 1 {
                self.out.push(b',');
            }
            match items.next_if(|(at, _)| *at == index as f64) {
                Some((_, item)) => self.value(item, depth)?,
                None => self.out.extend_from_slice(b"null"),
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: i32) -> Result<(), String> {
        self.out.push(b'{');
        for (nth, (key, value)) in table.entries.iter().enumerate() {
            if nth > 0 {
                self.out.push(b',');
            }
            match key {
                Value::Number(number) => {
                    self.out.push(b'"');
                    self.number(*number)?;
                    self.out.extend_from_slice(b"\":");
                }
                Value::Text(text) => {
                    self.text(text);
                    self.out.push(b':');
                }
                _ => return Err(refuse(key, "table key must be a number or string")),
            }
            self.value(value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), String> {
        if !number.is_finite() {
            match self.config.encode_invalid_numbers {
                0 => return Err(refuse(&Value::Number(number), "must not be NaN or Inf")),
                1 if number.is_nan() => self.out.extend_from_slice(b"nan"),
                1 => self.out.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" }),
                _ => self.out.extend_from_slice(b"null"),
            }
            return Ok(());
        }
        self.out.extend_from_slice(&general_text(number, self.config.number_precision as usize));
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=0x1f | 0x7f => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                other => self.out.push(other),
            }
        }
        self.out.push(b'"');
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(problem) => problem,
        }
    }
}

struct Decoder<'a> {
    config: &'a JsonConfig,
    text: &'a [u8],
    at: usize,
    /// Where the last token began, or where in it the error is.
    token_at: usize,
    depth: i32,
}

/// Reads a text. The error is a message.
pub fn decode(config: &JsonConfig, text: &[u8]) -> Result<Value, String> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".to_owned());
    }
    let mut decoder = Decoder { config, text, at: 0, token_at: 0, depth: 0 };
    let token = decoder.next();
    let value = decoder.value(token)?;
    match decoder.next() {
        Token::End => Ok(value),
        other => Err(decoder.unexpected("the end", &other)),
    }
}

impl Decoder<'_> {
    /// The byte at a place; 0, which ends everything, behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn starts_with(&self, word: &[u8]) -> bool {
        self.text[self.at..].starts_with(word)
    }

    fn unexpected(&self, expected: &str, found: &Token) -> String {
        format!("Expected {expected} but found {} at character {}", found.name(), self.token_at + 1)
    }

    fn error(&mut self, problem: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(problem)
    }

    fn one(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn word(&mut self, len: usize, token: Token) -> Token {
        self.at += len;
        token
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        match self.byte(self.at) {
            b'{' => self.one(Token::ObjectBegin),
            b'}' => self.one(Token::ObjectEnd),
            b'[' => self.one(Token::ArrayBegin),
            b']' => self.one(Token::ArrayEnd),
            b',' => self.one(Token::Comma),
            b':' => self.one(Token::Colon),
            0 => Token::End,
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.config.decode_invalid_numbers && self.is_lenient_number() {
                    return self.error("invalid number");
                }
                self.number()
            }
            b't' if self.starts_with(b"true") => self.word(4, Token::Boolean(true)),
            b'f' if self.starts_with(b"false") => self.word(5, Token::Boolean(false)),
            b'n' if self.starts_with(b"null") => self.word(4, Token::Null),
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+'
                if self.config.decode_invalid_numbers && self.is_lenient_number() =>
            {
                self.number()
            }
            _ => self.error("invalid token"),
        }
    }

    /// Whether a number is one that JSON does not allow.
    fn is_lenient_number(&self) -> bool {
        let mut at = self.at;
        match self.byte(at) {
            b'+' => return true,
            b'-' => at += 1,
            _ => {}
        }
        let word = |name: &[u8]| {
            self.text.get(at..at + name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name))
        };
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            byte if byte <= b'9' => false,
            _ => word(b"inf") || word(b"nan"),
        }
    }

    fn number(&mut self) -> Token {
        match c_number(&self.text[self.at..]) {
            None => self.error("invalid number"),
            Some((number, len)) => self.word(len, Token::Number(number)),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.byte(self.at) {
                b'"' => break,
                0 => return self.error("unexpected end of string"),
                b'\\' => {
                    let escaped = match self.byte(self.at + 1) {
                        b'u' => {
                            if !self.unicode(&mut text) {
                                return self.error("invalid unicode escape code");
                            }
                            continue;
                        }
                        b'b' => 0x08,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 0x0c,
                        b'r' => b'\r',
                        same @ (b'"' | b'\\' | b'/') => same,
                        _ => return self.error("invalid escape code"),
                    };
                    text.push(escaped);
                    self.at += 2;
                }
                byte => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Token::Text(text)
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        (at..at + 4).try_fold(0, |code, at| Some(code << 4 | char::from(self.byte(at)).to_digit(16)?))
    }

    /// `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self, text: &mut Vec<u8>) -> bool {
        let Some(mut code) = self.hex4(self.at + 2) else { return false };
        let mut len = 6;
        if code & 0xf800 == 0xd800 {
            if code & 0x400 != 0 || self.byte(self.at + 6) != b'\\' || self.byte(self.at + 7) != b'u' {
                return false;
            }
            match self.hex4(self.at + 8) {
                Some(low) if low & 0xfc00 == 0xdc00 => {
                    code = ((code & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000;
                }
                _ => return false,
            }
            len = 12;
        }
        let Some(character) = char::from_u32(code) else { return false };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += len;
        true
    }

    fn descend(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth <= self.config.decode_max_depth.min(DEPTH_MAX) {
            return Ok(());
        }
        Err(format!("Found too many nested data structures ({}) at character {}", self.depth, self.at))
    }

    fn value(&mut self, token: Token) -> Result<Value, String> {
        Ok(match token {
            Token::Text(text) => Value::Text(text),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::Null,
            Token::ObjectBegin => self.object()?,
            Token::ArrayBegin => self.array()?,
            other => return Err(self.unexpected("value", &other)),
        })
    }

    fn object(&mut self) -> Result<Value, String> {
        self.descend()?;
        let mut table = Table::default();
        let mut token = self.next();
        while token != Token::ObjectEnd {
            let Token::Text(key) = token else { return Err(self.unexpected("object key string", &token)) };
            match self.next() {
                Token::Colon => {}
                other => return Err(self.unexpected("colon", &other)),
            }
            let value = self.next();
            let value = self.value(value)?;
            table.entries.push((Value::Text(key), value));
            match self.next() {
                Token::ObjectEnd => break,
                Token::Comma => {}
                other => return Err(self.unexpected("comma or object end", &other)),
            }
            token = self.next();
            if token == Token::ObjectEnd {
                return Err(self.unexpected("object key string", &token));
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> Result<Value, String> {
        self.descend()?;
        let mut table = Table::default();
        let mut token = self.next();
        if token != Token::ArrayEnd {
            loop {
                let value = self.value(token)?;
                table.len += 1;
                table.entries.push((Value::Number(table.len as f64), value));
                match self.next() {
                    Token::ArrayEnd => break,
                    Token::Comma => {}
                    other => return Err(self.unexpected("comma or array end", &other)),
                }
                token = self.next();
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// The number a text begins with, as C's `strtod` reads it, and how many bytes that is.
pub fn c_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let signed = |value: f64| if negative { -value } else { value };
    let rest = &text[sign..];
    let word = |name: &[u8]| rest.get(..name.len()).is_some_and(|w| w.eq_ignore_ascii_case(name));
    if word(b"infinity") {
        return Some((signed(f64::INFINITY), sign + 8));
    }
    if word(b"inf") {
        return Some((signed(f64::INFINITY), sign + 3));
    }
    if word(b"nan") {
        let mut len = sign + 3;
        if rest.get(3) == Some(&b'(') {
            let inside = rest[4..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            if rest.get(4 + inside) == Some(&b')') {
                len += inside + 2;
            }
        }
        return Some((signed(f64::NAN), len));
    }
    if rest.len() > 2 && rest[0] == b'0' && rest[1] | 0x20 == b'x' {
        if let Some((value, len)) = hexadecimal(&rest[2..]) {
            return Some((signed(value), sign + 2 + len));
        }
        return Some((signed(0.0), sign + 1));
    }
    let digits =
        |from: usize| rest.get(from..).unwrap_or(&[]).iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut fraction = 0;
    if rest.get(whole) == Some(&b'.') {
        fraction = digits(whole + 1);
        len += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if rest.get(len).is_some_and(|b| b | 0x20 == b'e') {
        let exponent_sign = usize::from(matches!(rest.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(len + 1 + exponent_sign);
        if exponent > 0 {
            len += 1 + exponent_sign + exponent;
        }
    }
    let value: f64 = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
    Some((signed(value), sign + len))
}

/// Hexadecimal digits with an optional fraction and binary exponent.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let (mut value, mut scale, mut len, mut any) = (0.0f64, 0i32, 0, false);
    let mut in_fraction = false;
    for byte in text {
        match digit(byte) {
            Some(digit) => {
                value = value * 16.0 + f64::from(digit);
                scale -= if in_fraction { 4 } else { 0 };
                any = true;
            }
            None if *byte == b'.' && !in_fraction => in_fraction = true,
            None => break,
        }
        len += 1;
    }
    if !any {
        return None;
    }
    if text.get(len).is_some_and(|b| b | 0x20 == b'p') {
        let negative = text.get(len + 1) == Some(&b'-');
        let signs = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        let digits = text[len + 1 + signs..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 {
            let exponent = text[len + 1 + signs..len + 1 + signs + digits]
                .iter()
                .fold(0i32, |n, b| n.saturating_mul(10).saturating_add(i32::from(b - b'0')));
            scale = scale.saturating_add(if negative { -exponent } else { exponent });
            len += 1 + signs + digits;
        }
    }
    Some((value * 2f64.powi(scale.clamp(-4000, 4000)), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        let config = JsonConfig::default();
        let value = match decode(&config, text.as_bytes()) {
            Ok(value) => value,
            Err(message) => return message,
        };
        String::from_utf8(encode(&config, &value).unwrap_or_else(String::into_bytes)).expect("text")
    }

    #[test]
    fn texts_are_read_and_written() {
        for text in ["[1,2.5,\"a\\/b\",true,null]", "{\"a\":{\"b\":[]}}", "\"\\u0001\\u007f\"", "1e+20"] {
            let expected = text.replace("[]", "{}");
            assert_eq!(again(text), expected);
        }
        assert_eq!(again("\"\\ud83d\\ude00\""), "\"\u{1f600}\"");
        assert_eq!(again("[0x10, 1e2, -0]"), "[16,100,-0]");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert_eq!(again("[1,]"), "Expected value but found T_ARR_END at character 4");
        assert_eq!(again("{\"a\" 1}"), "Expected colon but found T_NUMBER at character 6");
        assert_eq!(again("{\"a\":1,}"), "Expected object key string but found T_OBJ_END at character 8");
        assert_eq!(again("\"ab"), "Expected value but found unexpected end of string at character 4");
        assert_eq!(again("@"), "Expected value but found invalid token at character 1");
        assert_eq!(again("1 2"), "Expected the end but found T_NUMBER at character 3");
    }

    #[test]
    fn arrays_with_many_holes_are_refused() {
        let table = Table { entries: vec![(Value::Number(30.0), Value::Boolean(true))], len: 0 };
        let value = Value::Table(table);
        assert_eq!(
            encode(&JsonConfig::default(), &value),
            Err("Cannot serialise table: excessively sparse array".to_owned())
        );
        let convert = JsonConfig { sparse_convert: true, ..JsonConfig::default() };
        assert_eq!(encode(&convert, &value), Ok(b"{\"30\":true}".to_vec()));
    }
}
