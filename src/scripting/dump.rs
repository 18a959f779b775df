//! FUNCTION DUMP's payload: each library as an RDB file has it (opcode, code), and the footer of DUMP.

use super::libraries::Libraries;
use crate::rdb::file::opcode;
use crate::rdb::payload;
use crate::rdb::read::Reader;
use crate::rdb::{Compression, write};

/// Writes all libraries.
pub fn dump(libraries: &Libraries, compression: Compression) -> Vec<u8> {
    let mut out = Vec::new();
    for library in libraries.iter() {
        out.push(opcode::FUNCTION);
        write::string(&mut out, &library.code, compression);
    }
    payload::seal(&mut out, payload::VERSION);
    out
}

/// The codes in a payload. The error is a line for the client without its code word.
pub fn codes(bytes: &[u8], check: impl Into<payload::Footer>) -> Result<Vec<Vec<u8>>, &'static str> {
    let body = payload::verify(bytes, check).map_err(|_| "DUMP payload version or checksum are wrong")?;
    let mut reader = Reader::new(body);
    let mut codes = Vec::new();
    while reader.remaining() > 0 {
        match reader.byte() {
            Ok(opcode::OLD_FUNCTION) => return Err("Pre-GA function format not supported"),
            Ok(opcode::FUNCTION) => {}
            _ => return Err("given type is not a function"),
        }
        codes.push(reader.string().map_err(|_| "Failed loading library code")?.into_owned());
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::RdbVersionCheck;
    use crate::scripting::libraries::{Existing, Library};

    #[test]
    fn what_is_dumped_is_read() {
        let mut libraries = Libraries::default();
        for name in ["a", "b"] {
            let code = format!("#!lua name={name}\nreturn {name}").into_bytes();
            let library = Library {
                id: 1,
                name: name.into(),
                code,
                code_start: 0,
                functions: Vec::new(),
                roams: Default::default(),
            };
            libraries.add(Arc::new(library), Existing::Refuse).expect("new");
        }
        let mut bytes = dump(&libraries, Compression::on_if(true));
        let read = codes(&bytes, RdbVersionCheck::Strict).expect("our own");
        assert_eq!(read.len(), 2);
        assert!(read[0].starts_with(b"#!lua name=a\n"));
        bytes[1] ^= 1;
        assert!(codes(&bytes, RdbVersionCheck::Strict).is_err());
    }
}
