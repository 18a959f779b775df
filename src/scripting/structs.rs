//! Packed bytes as the `struct` library of scripts reads and writes them.
//!
//! A format is a row of letters: `b B h H l L T` and `iN IN` integers (capitals unsigned), `f d` floating point, `cN`
//! and `s` bytes, `x` a byte of padding; `< >` choose the order of bytes and `!N` the alignment of what follows.

use super::json::c_number;
use super::value::Value;

/// Largest integers, bytes.
const INTEGER_BYTES_MAX: usize = 32;
const ALIGNMENT: usize = 8;

/// Why a format, an argument, or the data is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An error of its own.
    Plain(String),
    /// What is wrong with an argument.
    Argument(usize, String),
    /// The type an argument should have.
    Type(usize, &'static str),
}

fn argument<T>(number: usize, problem: &str) -> Result<T, Problem> {
    Err(Problem::Argument(number, problem.to_owned()))
}

/// The arguments of a call.
pub trait Arguments {
    /// Argument `number` as a number.
    fn number(&self, number: usize) -> Result<f64, Problem>;
    /// Argument `number` as bytes.
    fn bytes(&self, number: usize) -> Result<&[u8], Problem>;
}

/// A place in a format, and what it has set so far.
struct Format<'a> {
    text: &'a [u8],
    at: usize,
    big_endian: bool,
    align: usize,
}

/// One letter of a format, with its size in bytes.
struct Item {
    letter: u8,
    size: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Self {
        let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        Self { text: &text[..end], at: 0, big_endian: false, align: 1 }
    }

    fn count(&mut self, default: usize) -> Result<usize, Problem> {
        let mut count: Option<i32> = None;
        while let Some(digit) = self.text.get(self.at).filter(|b| b.is_ascii_digit()) {
            let next =
                count.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(i32::from(digit - b'0')));
            count = Some(next.ok_or_else(|| Problem::Plain("integral size overflow".to_owned()))?);
            self.at += 1;
        }
        Ok(count.map_or(default, |count| count as usize))
    }

    /// The next letter.
    fn next(&mut self) -> Result<Option<Item>, Problem> {
        let Some(&letter) = self.text.get(self.at) else { return Ok(None) };
        self.at += 1;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.count(1)?,
            b'i' | b'I' => {
                let size = self.count(4)?;
                if size > INTEGER_BYTES_MAX {
                    let line = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                    return Err(Problem::Plain(line));
                }
                size
            }
            _ => 0,
        };
        Ok(Some(Item { letter, size }))
    }

    /// Bytes of padding before an item at this place.
    fn padding(&self, position: usize, item: &Item) -> usize {
        if item.size == 0 || item.letter == b'c' {
            return 0;
        }
        let size = item.size.min(self.align);
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }

    /// Letters that stand for no data.
    fn control(&mut self, letter: u8) -> Result<(), Problem> {
        match letter {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let align = self.count(ALIGNMENT)?;
                if !align.is_power_of_two() {
                    return Err(Problem::Plain(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            // As bytes of Latin-1, which come out as they went in.
            other => return argument(1, &format!("invalid format option '{}'", char::from(other))),
        }
        Ok(())
    }

    fn ordered<const N: usize>(&self, little_endian: [u8; N]) -> [u8; N] {
        let mut bytes = little_endian;
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }
}

fn is_integer(letter: u8) -> bool {
    matches!(letter, b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I')
}

/// Packs the arguments from number 2 on.
pub fn pack(format: &[u8], arguments: &impl Arguments) -> Result<Vec<u8>, Problem> {
    let mut format = Format::new(format);
    let mut out = Vec::new();
    let mut arg = 2;
    while let Some(item) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), &item), 0);
        match item.letter {
            letter if is_integer(letter) => {
                let number = arguments.number(arg)?;
                arg += 1;
                let value = if number < 0.0 { number as i64 as u64 } else { number as u64 };
                let mut bytes = [0; INTEGER_BYTES_MAX];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                if format.big_endian {
                    bytes[..item.size].reverse();
                }
                out.extend_from_slice(&bytes[..item.size]);
            }
            b'x' => out.push(0),
            b'f' => {
                let number = arguments.number(arg)? as f32;
                arg += 1;
                out.extend_from_slice(&format.ordered(number.to_le_bytes()));
            }
            b'd' => {
                let number = arguments.number(arg)?;
                arg += 1;
                out.extend_from_slice(&format.ordered(number.to_le_bytes()));
            }
            b'c' | b's' => {
                let bytes = arguments.bytes(arg)?;
                arg += 1;
                let size = if item.size == 0 { bytes.len() } else { item.size };
                if bytes.len() < size {
                    return argument(arg, "string too short");
                }
                out.extend_from_slice(&bytes[..size]);
                if item.letter == b's' {
                    out.push(0);
                }
            }
            letter => format.control(letter)?,
        }
    }
    Ok(out)
}

/// Unpacks data from a place on (counted from 1; 0 is refused). The last value is where the next item would begin.
pub fn unpack(format: &[u8], data: &[u8], start: usize) -> Result<Vec<Value>, Problem> {
    let mut position = match start.checked_sub(1) {
        Some(position) => position,
        None => return argument(3, "offset must be 1 or greater"),
    };
    let mut format = Format::new(format);
    let mut values = Vec::new();
    let too_short = || Problem::Argument(2, "data string too short".to_owned());
    while let Some(item) = format.next()? {
        position = position.wrapping_add(format.padding(position, &item));
        let mut size = item.size;
        let fits = |position: usize, size: usize| size <= data.len() && position <= data.len() - size;
        if !fits(position, size) {
            return Err(too_short());
        }
        let bytes = &data[position..position + size];
        match item.letter {
            letter if is_integer(letter) => {
                values.push(Value::Number(integer(bytes, format.big_endian, letter.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' => {
                let bytes = bytes.try_into().expect("four bytes were taken");
                values.push(Value::Number(f64::from(f32::from_le_bytes(format.ordered(bytes)))));
            }
            b'd' => {
                let bytes = bytes.try_into().expect("eight bytes were taken");
                values.push(Value::Number(f64::from_le_bytes(format.ordered(bytes))));
            }
            b'c' => {
                if size == 0 {
                    let Some(previous) = values.last().and_then(as_number) else {
                        return Err(Problem::Plain("format 'c0' needs a previous size".to_owned()));
                    };
                    // A negative length is a large one.
                    size = previous as i64 as usize;
                    values.pop();
                    if !fits(position, size) {
                        return Err(too_short());
                    }
                }
                values.push(Value::Text(data[position..position + size].to_vec()));
            }
            b's' => {
                let rest = &data[position..];
                let Some(len) = rest.iter().position(|&b| b == 0) else {
                    return Err(Problem::Plain("unfinished string in data".to_owned()));
                };
                values.push(Value::Text(rest[..len].to_vec()));
                size = len + 1;
            }
            letter => format.control(letter)?,
        }
        position += size;
    }
    values.push(Value::Number(position as f64 + 1.0));
    Ok(values)
}

/// A number, or a text that Lua takes for one.
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => {
            let text = text.trim_ascii();
            c_number(text).filter(|(_, len)| *len == text.len()).map(|(number, _)| number)
        }
        _ => None,
    }
}

fn integer(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
    if !signed {
        return value as f64;
    }
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    (if value & mask != 0 { value | mask } else { value }) as i64 as f64
}

/// How many bytes a format packs to.
pub fn size(format: &[u8]) -> Result<usize, Problem> {
    let mut format = Format::new(format);
    let mut position = 0usize;
    while let Some(item) = format.next()? {
        position += format.padding(position, &item);
        match item.letter {
            b's' => return argument(1, "option 's' has no fixed size"),
            b'c' if item.size == 0 => return argument(1, "option 'c0' has no fixed size"),
            letter if !letter.is_ascii_alphanumeric() => format.control(letter)?,
            _ => {}
        }
        position += item.size;
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<Value>);

    impl Arguments for Given {
        fn number(&self, number: usize) -> Result<f64, Problem> {
            match self.0.get(number - 2) {
                Some(Value::Number(value)) => Ok(*value),
                _ => Err(Problem::Type(number, "number")),
            }
        }

        fn bytes(&self, number: usize) -> Result<&[u8], Problem> {
            match self.0.get(number - 2) {
                Some(Value::Text(text)) => Ok(text),
                _ => Err(Problem::Type(number, "string")),
            }
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let given = Given(vec![
            Value::Number(-2.0),
            Value::Number(65535.0),
            Value::Number(1.5),
            Value::Text(b"ab".to_vec()),
            Value::Number(7.0),
        ]);
        let bytes = pack(b"<hHd>s!4i", &given).expect("packed");
        assert_eq!(&bytes[..4], [0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(bytes.len(), 20);
        let mut expected = given.0;
        expected.push(Value::Number(21.0));
        assert_eq!(unpack(b"<hHd>s!4i", &bytes, 1), Ok(expected));
        assert_eq!(size(b"<hHd!4i"), Ok(16));
    }

    #[test]
    fn mistakes_are_refused() {
        let none = Given(Vec::new());
        assert_eq!(pack(b"i", &none), Err(Problem::Type(2, "number")));
        assert_eq!(unpack(b"c0", b"", 1), Err(Problem::Plain("format 'c0' needs a previous size".into())));
        assert_eq!(unpack(b"bc0", b"\xffx", 1), Err(Problem::Argument(2, "data string too short".into())));
        assert_eq!(unpack(b"b", b"", 0), Err(Problem::Argument(3, "offset must be 1 or greater".into())));
        assert_eq!(size(b"i99999999999"), Err(Problem::Plain("integral size overflow".into())));
        assert_eq!(size(b"!3"), Err(Problem::Plain("alignment 3 is not a power of 2".into())));
    }
}
