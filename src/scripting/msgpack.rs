//! MessagePack as the `cmsgpack` library of scripts reads and writes it.

use super::value::{Table, Value};

/// Tables nested deeper are written as nil.
pub const NESTING_MAX: usize = 16;

/// Nested collections beyond this are refused when reading: each takes a piece of the stack.
const DEPTH_MAX: usize = 2600;

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    #[error("Missing bytes in input.")]
    Missing,
    #[error("Bad data format in input.")]
    Format,
    #[error("stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)")]
    TooDeep,
}

/// Appends a value.
pub fn pack(out: &mut Vec<u8>, value: &Value) {
    pack_at(out, value, 0);
}

fn pack_at(out: &mut Vec<u8>, value: &Value, level: usize) {
    match value {
        Value::Text(text) => {
            match text.len() {
                len @ 0..=31 => out.push(0xa0 | len as u8),
                len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
                len => sized(out, 0xda, len),
            }
            out.extend_from_slice(text);
        }
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Number(number) => pack_number(out, *number),
        Value::Table(table) if level < NESTING_MAX => pack_table(out, table, level),
        _ => out.push(0xc0),
    }
}

/// A length of 16 or 32 bits behind the code for it.
fn sized(out: &mut Vec<u8>, code: u8, len: usize) {
    match u16::try_from(len) {
        Ok(short) => {
            out.push(code);
            out.extend_from_slice(&short.to_be_bytes());
        }
        Err(_) => {
            out.push(code + 1);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn pack_number(out: &mut Vec<u8>, number: f64) {
    let integer = number as i64;
    // 2^63 itself saturates, and is not the integer it came from.
    let exact = number.is_finite() && integer as f64 == number && number < 9_223_372_036_854_775_808.0;
    if !exact {
        let single = number as f32;
        if f64::from(single) == number {
            out.push(0xca);
            out.extend_from_slice(&single.to_be_bytes());
        } else {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        return;
    }
    match integer {
        0..=0x7f => out.push(integer as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, integer as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(integer as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(integer as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&integer.to_be_bytes());
        }
        -32..=-1 => out.push(integer as i8 as u8),
        -128..=-33 => out.extend_from_slice(&[0xd0, integer as i8 as u8]),
        -32768..=-129 => {
            out.push(0xd1);
            out.extend_from_slice(&(integer as i16).to_be_bytes());
        }
        -2_147_483_648..=-32769 => {
            out.push(0xd2);
            out.extend_from_slice(&(integer as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&integer.to_be_bytes());
        }
    }
}

fn pack_table(out: &mut Vec<u8>, table: &Table, level: usize) {
    let items = table.items().filter(|items| {
        let max = items.last().map_or(0.0, |(index, _)| *index);
        max == items.len() as f64
    });
    match items {
        Some(items) => {
            match items.len() {
                len @ 0..=15 => out.push(0x90 | len as u8),
                len => sized(out, 0xdc, len),
            }
            items.iter().for_each(|(_, item)| pack_at(out, item, level + 1));
        }
        None => {
            match table.entries.len() {
                len @ 0..=15 => out.push(0x80 | len as u8),
                len => sized(out, 0xde, len),
            }
            for (key, value) in &table.entries {
                pack_at(out, key, level + 1);
                pack_at(out, value, level + 1);
            }
        }
    }
}

/// Reads the value that the bytes begin with, and tells how many bytes it took.
pub fn unpack(bytes: &[u8]) -> Result<(Value, usize), UnpackError> {
    let mut cursor = Cursor { bytes, at: 0 };
    let value = cursor.value(0)?;
    Ok((value, cursor.at))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], UnpackError> {
        let end = self.at.checked_add(len).ok_or(UnpackError::Missing)?;
        let taken = self.bytes.get(self.at..end).ok_or(UnpackError::Missing)?;
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], UnpackError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn short(&mut self) -> Result<usize, UnpackError> {
        Ok(usize::from(u16::from_be_bytes(self.fixed()?)))
    }

    fn long(&mut self) -> Result<usize, UnpackError> {
        Ok(u32::from_be_bytes(self.fixed()?) as usize)
    }

    fn text(&mut self, len: usize) -> Result<Value, UnpackError> {
        Ok(Value::Text(self.take(len)?.to_vec()))
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<Value, UnpackError> {
        let mut table = Table { entries: Vec::new(), len };
        for index in 1..=len {
            let value = self.value(depth + 1)?;
            table.entries.push((Value::Number(index as f64), value));
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Value, UnpackError> {
        let mut table = Table::default();
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            table.entries.push((key, value));
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> Result<Value, UnpackError> {
        if depth > DEPTH_MAX {
            return Err(UnpackError::TooDeep);
        }
        let [code] = self.fixed()?;
        Ok(match code {
            0x00..=0x7f => Value::Number(f64::from(code)),
            0x80..=0x8f => return self.map(usize::from(code & 15), depth),
            0x90..=0x9f => return self.array(usize::from(code & 15), depth),
            0xa0..=0xbf => return self.text(usize::from(code & 31)),
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_be_bytes(self.fixed()?))),
            0xcb => Value::Number(f64::from_be_bytes(self.fixed()?)),
            0xcc => Value::Number(f64::from(self.fixed::<1>()?[0])),
            0xcd => Value::Number(f64::from(u16::from_be_bytes(self.fixed()?))),
            0xce => Value::Number(f64::from(u32::from_be_bytes(self.fixed()?))),
            // Pushed as a signed number: what is above 2^63 becomes negative.
            0xcf | 0xd3 => Value::Number(i64::from_be_bytes(self.fixed()?) as f64),
            0xd0 => Value::Number(f64::from(i8::from_be_bytes(self.fixed()?))),
            0xd1 => Value::Number(f64::from(i16::from_be_bytes(self.fixed()?))),
            0xd2 => Value::Number(f64::from(i32::from_be_bytes(self.fixed()?))),
            0xd9 => {
                let [len] = self.fixed()?;
                return self.text(usize::from(len));
            }
            0xda => {
                let len = self.short()?;
                return self.text(len);
            }
            0xdb => {
                let len = self.long()?;
                return self.text(len);
            }
            0xdc => {
                let len = self.short()?;
                return self.array(len, depth);
            }
            0xdd => {
                let len = self.long()?;
                return self.array(len, depth);
            }
            0xde => {
                let len = self.short()?;
                return self.map(len, depth);
            }
            0xdf => {
                let len = self.long()?;
                return self.map(len, depth);
            }
            0xe0..=0xff => Value::Number(f64::from(code as i8)),
            _ => return Err(UnpackError::Format),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let text = Value::Text(vec![b'x'; 300]);
        let entries = vec![(Value::Text(b"k".to_vec()), text)];
        for value in [
            Value::Nil,
            Value::Boolean(true),
            Value::Number(1.5),
            Value::Number(-40000.0),
            Value::Number(0.1),
            Value::Number(5e9),
            Value::Table(Table { entries, len: 0 }),
        ] {
            let mut bytes = Vec::new();
            pack(&mut bytes, &value);
            assert_eq!(unpack(&bytes), Ok((value, bytes.len())));
        }
    }

    #[test]
    fn broken_bytes_are_refused() {
        // As much room as scripts have. In a debug build the deepest nesting takes more than the stack of a test.
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(refuse_broken_bytes);
        thread.expect("a thread").join().expect("no panic");
    }

    fn refuse_broken_bytes() {
        assert_eq!(unpack(b"\xda\x00"), Err(UnpackError::Missing));
        assert_eq!(unpack(b"\xc1"), Err(UnpackError::Format));
        assert_eq!(unpack(&[0x91; 10_000]), Err(UnpackError::TooDeep));
        assert_eq!(unpack(b"\xdd\xff\xff\xff\xff"), Err(UnpackError::Missing));
    }
}
