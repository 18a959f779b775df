//! The error lines for requests that name no command or have the wrong length, byte by byte as Valkey writes them.
//! They repeat words of the client, so they are bytes and not text, and are cut and cleaned here: an error reply is
//! one line.

/// How many bytes of a client's word are repeated, and roughly how many of all arguments together.
const REPEATED_BYTES_MAX: usize = 128;

/// The line for a name that is no command: `ERR unknown command 'foo', with args beginning with: 'a' 'b' `.
/// `args` is the request, name first.
pub fn unknown_command(args: &[&[u8]]) -> Vec<u8> {
    let mut line = b"ERR unknown command '".to_vec();
    line.extend_from_slice(repeated(args.first().copied().unwrap_or_default(), REPEATED_BYTES_MAX));
    line.extend_from_slice(b"', with args beginning with: ");
    let start = line.len();
    for arg in args.iter().skip(1) {
        let used = line.len() - start;
        if used >= REPEATED_BYTES_MAX {
            break;
        }
        line.push(b'\'');
        line.extend_from_slice(repeated(arg, REPEATED_BYTES_MAX - used));
        line.extend_from_slice(b"' ");
    }
    one_line(line)
}

/// The line for a container that does not know the subcommand: `ERR unknown subcommand 'foo'. Try CLIENT HELP.`
/// `args` is the request, with at least two words.
pub fn unknown_subcommand(args: &[&[u8]]) -> Vec<u8> {
    let mut line = b"ERR unknown subcommand '".to_vec();
    line.extend_from_slice(repeated(args.get(1).copied().unwrap_or_default(), REPEATED_BYTES_MAX));
    line.extend_from_slice(b"'. Try ");
    line.extend(c_string(args.first().copied().unwrap_or_default()).iter().map(u8::to_ascii_uppercase));
    line.extend_from_slice(b" HELP.");
    one_line(line)
}

/// The line for a subcommand with words that it does not know:
/// `ERR unknown subcommand or wrong number of arguments for 'LOG'. Try ACL HELP.`
pub fn wrong_subcommand_arity(args: &[&[u8]]) -> Vec<u8> {
    let mut line = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    line.extend_from_slice(repeated(args.get(1).copied().unwrap_or_default(), REPEATED_BYTES_MAX));
    line.extend_from_slice(b"'. Try ");
    line.extend(c_string(args.first().copied().unwrap_or_default()).iter().map(u8::to_ascii_uppercase));
    line.extend_from_slice(b" HELP.");
    one_line(line)
}

/// The line for a request of the wrong length; `name` is the full name in lower case, such as `client|list`.
pub fn wrong_arity(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

/// Valkey prints the client's words as C strings.
fn c_string(word: &[u8]) -> &[u8] {
    memchr::memchr(0, word).map_or(word, |end| &word[..end])
}

fn repeated(word: &[u8], limit: usize) -> &[u8] {
    let word = c_string(word);
    &word[..word.len().min(limit)]
}

fn one_line(mut line: Vec<u8>) -> Vec<u8> {
    for byte in &mut line {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected lines were recorded from Valkey 9.1.2.
    #[test]
    fn unknown_commands_repeat_at_most_128_bytes_of_name_and_arguments() {
        assert_eq!(
            unknown_command(&[b"foo", b"a", b"b"]),
            b"ERR unknown command 'foo', with args beginning with: 'a' 'b' "
        );
        assert_eq!(unknown_command(&[b""]), b"ERR unknown command '', with args beginning with: ");
        let (x, y) = ([b'x'; 200], [b'y'; 200]);
        assert_eq!(
            unknown_command(&[&x, &y, b"z"]),
            [b"ERR unknown command '", &x[..128], b"', with args beginning with: '", &y[..128], b"' "]
                .concat()
        );
        let (y, z) = ([b'y'; 60], [b'z'; 100]);
        assert_eq!(
            unknown_command(&[b"foo", &y, &z, b"w"]),
            [b"ERR unknown command 'foo', with args beginning with: '", &y[..], b"' '", &z[..65], b"' "]
                .concat()
        );
        let a = [b'a'; 124];
        assert_eq!(
            unknown_command(&[b"foo", &a, b"b", b"c"]),
            [b"ERR unknown command 'foo', with args beginning with: '", &a[..], b"' 'b' "].concat()
        );
    }

    #[test]
    fn client_words_cannot_break_the_line_and_end_at_a_zero_byte() {
        assert_eq!(
            unknown_command(&[b"f\r\noo", b"x\ny"]),
            b"ERR unknown command 'f  oo', with args beginning with: 'x y' "
        );
        assert_eq!(
            unknown_command(&[b"f\0oo", b"a\0b"]),
            b"ERR unknown command 'f', with args beginning with: 'a' "
        );
        assert_eq!(
            unknown_subcommand(&[b"object", b"a\r\nb"]),
            b"ERR unknown subcommand 'a  b'. Try OBJECT HELP."
        );
        assert_eq!(
            unknown_command(&[b"\xff\xfe", b"\x80"]),
            b"ERR unknown command '\xff\xfe', with args beginning with: '\x80' "
        );
    }
}
