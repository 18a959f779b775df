//! The first line of a script or library: `#!lua flags=no-writes`, `#!lua name=mylib`.

use super::ScriptFlags;
use crate::config::split::split_words;

/// What the first line of a script for EVAL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptHeader {
    pub engine: Vec<u8>,
    pub flags: ScriptFlags,
    /// Where the code begins: at the end of the first line, so that line numbers stay right.
    pub code_start: usize,
}

/// What the first line of a library says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryHeader {
    pub engine: Vec<u8>,
    pub name: Vec<u8>,
    pub code_start: usize,
}

/// The words of the first line after `#!`, and its length. None if there is no end of the line.
fn first_line(text: &[u8]) -> Option<(usize, Option<Vec<Vec<u8>>>)> {
    let end = text.iter().position(|&b| b == b'\n' || b == 0).filter(|&at| text[at] == b'\n')?;
    Some((end, split_words(&text[..end]).ok().filter(|words| !words.is_empty())))
}

/// A word up to its first NUL, as messages show it.
fn shown(word: &[u8]) -> &[u8] {
    word.split(|&b| b == 0).next().unwrap_or(word)
}

/// Reads the first line of a script. The error is a line for the client without its code word.
pub fn of_script(text: &[u8]) -> Result<ScriptHeader, Vec<u8>> {
    if !text.starts_with(b"#!") {
        return Ok(ScriptHeader { engine: b"lua".to_vec(), flags: ScriptFlags::UNDECLARED, code_start: 0 });
    }
    let (code_start, words) = first_line(text).ok_or(&b"Invalid script shebang"[..])?;
    let words = words.ok_or(&b"Invalid engine in script shebang"[..])?;
    let mut flags = ScriptFlags::default();
    for word in &words[1..] {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err([b"Unknown lua shebang option: ", shown(word)].concat());
        };
        if list.is_empty() {
            continue;
        }
        for name in list.split(|&b| b == b',') {
            match ScriptFlags::NAMES.iter().find(|(_, known)| known.as_bytes() == shown(name)) {
                Some((flag, _)) => flags = flags.with(*flag),
                None => return Err([b"Unexpected flag in script shebang: ", shown(name)].concat()),
            }
        }
    }
    Ok(ScriptHeader { engine: words[0].get(2..).unwrap_or_default().to_vec(), flags, code_start })
}

/// Reads the first line of a library. The error is a line for the client without its code word.
pub fn of_library(text: &[u8]) -> Result<LibraryHeader, Vec<u8>> {
    if !text.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    let (code_start, words) = first_line(text).ok_or(&b"Invalid library metadata"[..])?;
    let words = words.ok_or(&b"Invalid library metadata"[..])?;
    let mut name = None;
    for word in &words[1..] {
        if word.len() < 5 || !word[..5].eq_ignore_ascii_case(b"name=") {
            return Err([b"Invalid metadata value given: ", shown(word)].concat());
        }
        if name.is_some() {
            return Err(b"Invalid metadata value, name argument was given multiple times".to_vec());
        }
        name = Some(word[5..].to_vec());
    }
    let name = name.ok_or(&b"Library name was not given"[..])?;
    Ok(LibraryHeader { engine: words[0].get(2..).unwrap_or_default().to_vec(), name, code_start })
}

/// Whether a library or function may have this name.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        String::from_utf8(of_script(text.as_bytes()).expect_err("refused")).expect("text")
    }

    #[test]
    fn scripts_without_a_first_line_follow_the_old_rules() {
        let header = of_script(b"return 1").expect("a script");
        assert_eq!((header.flags, header.code_start), (ScriptFlags::UNDECLARED, 0));
    }

    #[test]
    fn flags_are_read() {
        let script = b"#!lua flags=no-writes,allow-stale flags=\nreturn 1";
        let header = of_script(script).expect("a script");
        assert_eq!(header.engine, b"lua");
        assert_eq!(header.flags, ScriptFlags::NO_WRITES.with(ScriptFlags::ALLOW_STALE));
        // The line's end stays, so that lines of errors are counted as the author counts them.
        assert_eq!(&script[header.code_start..], b"\nreturn 1");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(error("#!lua"), "Invalid script shebang");
        assert_eq!(error("#!lua x\n"), "Unknown lua shebang option: x");
        assert_eq!(error("#!lua flags=a\n"), "Unexpected flag in script shebang: a");
        assert_eq!(error("#!lua \"\n"), "Invalid engine in script shebang");
    }

    #[test]
    fn libraries_have_a_name() {
        let header = of_library(b"#!lua NAME=mine\nx").expect("a library");
        assert_eq!((&header.name[..], header.code_start), (&b"mine"[..], 15));
        assert_eq!(of_library(b"#!lua\n"), Err(b"Library name was not given".to_vec()));
        assert!(of_library(b"#!lua name=a name=b\n").is_err());
        assert!(is_name(b"a_1") && !is_name(b"") && !is_name(b"a-b"));
    }
}
