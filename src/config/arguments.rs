//! The command line as configuration: `[file] [--name value ...] [-]`. Options become lines of text that stand
//! behind the file's (spec: process contract, section 1).

use super::split::{quote, split_words};

/// What the arguments of the program say about configuration. Flags that are no configuration (`--version` ...) are
/// to be taken out before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Path of the configuration file.
    pub file: Option<Vec<u8>>,
    /// Whether a `-` asks for more configuration from standard input.
    pub stdin: bool,
    /// The options as lines.
    pub text: Vec<u8>,
}

impl CommandLine {
    /// Reads the arguments behind the program's name.
    pub fn parse(arguments: &[Vec<u8>]) -> CommandLine {
        let mut out = CommandLine::default();
        let mut options = arguments;
        if let [first, rest @ ..] = arguments
            && first.first() != Some(&b'-')
        {
            out.file = Some(first.clone());
            options = rest;
        }
        // An option wants at least one value, which may itself begin with dashes.
        let mut wants_value = false;
        for (at, argument) in options.iter().enumerate() {
            let next = options.get(at + 1);
            let first_of_all = at == 0 && out.file.is_none();
            if argument == b"-" && (first_of_all || next.is_none()) {
                out.stdin = true;
            } else if let (false, Some(option)) = (wants_value, argument.strip_prefix(b"--")) {
                if !out.text.is_empty() {
                    out.text.push(b'\n');
                }
                out.text.extend_from_slice(option);
                out.text.push(b' ');
                // "--port 6379" as one argument has its value with it.
                wants_value = split_words(argument).is_ok_and(|words| words.len() == 1);
                let alone = next.is_none_or(|next| next.starts_with(b"--"));
                if wants_value && alone && argument.eq_ignore_ascii_case(b"--save") {
                    out.text.extend_from_slice(b"\"\"");
                    wants_value = false;
                }
            } else {
                out.text.extend(quote(argument));
                out.text.push(b' ');
                wants_value = false;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> (Option<String>, bool, String) {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|text| text.as_bytes().to_vec()).collect();
        let line = CommandLine::parse(&arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (line.file.map(text), line.stdin, text(line.text))
    }

    #[test]
    fn options_become_lines() {
        let file = Some("x.conf".to_string());
        assert_eq!(
            parse(&["x.conf", "--port", "1", "--bind", "a", "b"]),
            (file.clone(), false, "port \"1\" \nbind \"a\" \"b\" ".to_string())
        );
        assert_eq!(parse(&["--port 1", "--hz", "5"]).2, "port 1 \nhz \"5\" ");
        assert_eq!(parse(&["x.conf", "timeout", "9"]), (file, false, "\"timeout\" \"9\" ".to_string()));
        assert_eq!(parse(&["--dbfilename", "--hz", "--hz", "3"]).2, "dbfilename \"--hz\" \nhz \"3\" ");
        assert_eq!(parse(&["--timeout", "-5"]).2, "timeout \"-5\" ");
    }

    #[test]
    fn save_may_be_empty() {
        assert_eq!(parse(&["--save", "--hz", "3"]).2, "save \"\"\nhz \"3\" ");
        assert_eq!(parse(&["--hz", "3", "--save"]).2, "hz \"3\" \nsave \"\"");
        assert_eq!(parse(&["--maxclients"]).2, "maxclients ");
    }

    #[test]
    fn a_dash_first_or_last_reads_standard_input() {
        assert_eq!(parse(&["-", "--hz", "3"]), (None, true, "hz \"3\" ".to_string()));
        assert_eq!(parse(&["--hz", "3", "-"]), (None, true, "hz \"3\" ".to_string()));
        assert_eq!(parse(&["x", "-", "--hz", "3"]).2, "\"-\" \nhz \"3\" ");
    }
}
