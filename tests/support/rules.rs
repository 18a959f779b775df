//! The closed list of what is not compared byte by byte. Whatever is not named here must be equal to the last byte.
//!
//! | what | commands | compared instead |
//! |---|---|---|
//! | order of elements of hashtable-encoded sets and hashes | SMEMBERS SINTER HGETALL HKEYS HVALS, SORT BY | as a set, only if a key is so encoded |
//! | the same, where the result passes through a hash table | SUNION SDIFF | as a set, unless all keys are intsets |
//! | the same, where a listpack may be what was left of a hash table (SDIFFSTORE, SPOP ...) | SMEMBERS SINTER SSCAN | as a set, unless all keys are intsets |
//! | the same, in serialized form; times in streams | DUMP | type, only if the key is so encoded, or a set in a listpack |
//! | order of names | KEYS, CONFIG GET, PUBSUB CHANNELS/SHARDCHANNELS, COMMAND LIST, FUNCTION LIST, ACL USERS | as a set |
//! | cursors and pages | SCAN SSCAN HSCAN ZSCAN | as a set if both sides finish in one call from cursor 0, else types |
//! | random picks | RANDOMKEY SPOP SRANDMEMBER HRANDFIELD ZRANDMEMBER, ACL GENPASS | types and number |
//! | clocks and counters of time | TIME LASTSAVE, OBJECT FREQ, XADD with `*`, MEMORY *, LATENCY *, SLOWLOG GET, COMMANDLOG GET, INFO | types |
//! | prose | LOLWUT, every HELP, COMMAND DOCS, the notes of key specifications in COMMAND INFO; sizes of the command table: COMMAND, COMMAND COUNT | types |
//! | the number of a connection, counted from the start of the server | HELLO, CLIENT ID | any integer |
//! | addresses, sizes and ages of clients | CLIENT LIST, CLIENT INFO | field names, and the values of all other fields |
//! | distance to a deadline | TTL PTTL HTTL HPTTL, OBJECT IDLETIME | numbers up to 2 s apart |
//! | idle times and times of delivery | XPENDING, XINFO STREAM/CONSUMERS | these numbers up to 2 s apart, all others exact |
//! | deadlines before the year 2100, made from relative times | EXPIRETIME PEXPIRETIME HEXPIRETIME HPEXPIRETIME | numbers up to 2 s apart |

use super::client::Reply;
use super::r#gen::asked;
use super::resp::Value;

/// How two replies to one command are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Exact,
    /// The elements of the outermost array, set or map, in any order.
    Unordered,
    /// Flat field-value pairs, in any order.
    UnorderedPairs,
    /// As [`Rule::Unordered`], if a key of the command is encoded as a hash table.
    UnorderedIfHashtable,
    /// As [`Rule::UnorderedPairs`], if a key of the command is encoded as a hash table.
    UnorderedPairsIfHashtable,
    /// Exact, except that only the type counts if the key is encoded as a hash table or a stream.
    ExactUnlessHashtable,
    /// A page from a cursor whose meaning is the server's own.
    ScanPage,
    /// Cursor and elements.
    Scan,
    /// As [`Rule::Scan`], where each element takes two places.
    ScanPairs,
    /// The types of all parts and the lengths of arrays.
    Shape,
    /// Only the outermost type.
    Kind,
    /// Integers may differ by so many units; all else is exact.
    Near(i64),
    /// Deadlines: integers of at least this value are exact, smaller ones may differ by so many units.
    NearBelow {
        limit: i64,
        tolerance: i64,
    },
    /// Exact, or with a key that is encoded as a hash table elements may differ behind a zero byte: SORT ALPHA compares C
    /// strings, and which of two equal ones comes first follows from the order of the table.
    TiesIfHashtable,
    /// As [`Rule::Near`], but only for what are times in descriptions of streams.
    StreamTimes(i64),
    /// Pairs, of which the value of `id` is not compared.
    Hello,
    /// All but the notes of key specifications.
    CommandInfo,
    /// Lines of `name=value` fields.
    ClientFields,
}

/// Seconds up to the year 2100: deadlines from here on are always set absolutely by the generators.
pub const YEAR_2100_S: i64 = 4_102_444_800;

/// Fields of CLIENT LIST whose values are addresses, sizes or ages.
const CLIENT_FIELDS_NOT_COMPARED: [&str; 19] = [
    "addr",
    "laddr",
    "id",
    "fd",
    "age",
    "idle",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
    "tot-net-in",
    "tot-net-out",
    "io-thread",
];

/// The rule for a command, by its name and, where needed, its arguments.
pub fn rule_for(command: &[Vec<u8>]) -> Rule {
    let command = asked(command);
    let word = |index: usize| {
        command.get(index).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default()
    };
    let has = |option: &str| command.iter().any(|word| word.eq_ignore_ascii_case(option.as_bytes()));
    let sub = word(1);
    if sub == "help" && command.len() == 2 {
        return Rule::Kind;
    }
    match word(0).as_str() {
        "smembers" | "sunion" | "sdiff" | "sinter" | "hkeys" | "hvals" => Rule::UnorderedIfHashtable,
        "hgetall" => Rule::UnorderedPairsIfHashtable,
        "sort" | "sort_ro" if has("by") || (has("alpha") && has("get")) => Rule::UnorderedIfHashtable,
        "sort" | "sort_ro" if has("alpha") => Rule::TiesIfHashtable,
        "keys" => Rule::Unordered,
        "config" if sub == "get" => Rule::UnorderedPairs,
        "pubsub" if sub.ends_with("channels") => Rule::Unordered,
        "function" if sub == "list" => Rule::Unordered,
        "acl" if sub == "users" => Rule::Unordered,
        "command" if command.len() == 1 => Rule::Kind,
        "command" if sub == "info" => Rule::CommandInfo,
        "command" if matches!(sub.as_str(), "count" | "docs" | "list") => Rule::Kind,
        "dump" => Rule::ExactUnlessHashtable,
        "xadd" if has("*") => Rule::Kind,
        "scan" if sub != "0" => Rule::ScanPage,
        "sscan" | "hscan" | "zscan" if word(2) != "0" => Rule::ScanPage,
        "scan" | "sscan" => Rule::Scan,
        "hscan" if has("novalues") => Rule::Scan,
        "zscan" if has("noscores") => Rule::Scan,
        "hscan" | "zscan" => Rule::ScanPairs,
        "randomkey" => Rule::Kind,
        "spop" | "srandmember" | "hrandfield" | "zrandmember" => Rule::Shape,
        "acl" if sub == "genpass" => Rule::Shape,
        "time" | "lastsave" | "info" | "lolwut" => Rule::Shape,
        "memory" | "latency" => Rule::Kind,
        "slowlog" | "commandlog" if sub == "get" => Rule::Kind,
        "slowlog" | "commandlog" if sub == "len" => Rule::Kind,
        "object" if sub == "freq" => Rule::Shape,
        "object" if sub == "idletime" => Rule::Near(2),
        "debug" if sub == "object" => Rule::Kind,
        "hello" => Rule::Hello,
        "client" if sub == "id" => Rule::Kind,
        "client" if sub == "list" || sub == "info" => Rule::ClientFields,
        "ttl" | "httl" => Rule::Near(2),
        "pttl" | "hpttl" => Rule::Near(2000),
        "xpending" | "xinfo" => Rule::StreamTimes(2000),
        "expiretime" | "hexpiretime" => Rule::NearBelow { limit: YEAR_2100_S, tolerance: 2 },
        "pexpiretime" | "hpexpiretime" => Rule::NearBelow { limit: YEAR_2100_S * 1000, tolerance: 2000 },
        _ => Rule::Exact,
    }
}

/// The keys whose encodings decide how a reply is compared.
pub fn keys_deciding_order(command: &[Vec<u8>]) -> &[Vec<u8>] {
    let command = asked(command);
    match rule_for(command) {
        Rule::UnorderedIfHashtable
        | Rule::UnorderedPairsIfHashtable
        | Rule::TiesIfHashtable
        | Rule::ExactUnlessHashtable
            if command.len() > 1 =>
        {
            let name = command[0].to_ascii_lowercase();
            let several = matches!(name.as_slice(), b"sunion" | b"sdiff" | b"sinter");
            if several { &command[1..] } else { &command[1..2] }
        }
        _ => &[],
    }
}

/// Whether a key of that encoding takes the order out of the command's reply.
pub fn has_no_order(command: &[Vec<u8>], encoding: &[u8]) -> bool {
    match asked(command)[0].to_ascii_lowercase().as_slice() {
        b"sunion" | b"sdiff" | b"sinter" | b"smembers" => encoding != b"intset",
        // SORT walks sorted sets through their hash table; a small one is a listpack, as a small list is.
        b"sort" | b"sort_ro" => encoding != b"quicklist" && encoding != b"intset",
        b"dump" => encoding == b"hashtable" || encoding == b"stream",
        _ => encoding == b"hashtable",
    }
}

/// Whether the replies agree under the rule. `hashtable`: a key deciding about order is encoded as a hash table.
pub fn agree(rule: Rule, hashtable: bool, subject: &Reply, reference: &Reply) -> bool {
    let (subject, reference) = match (subject, reference) {
        (Ok(subject), Ok(reference)) => (subject, reference),
        // Both closed without a reply: the same behaviour; what else went wrong differs or is a failure of the test.
        (Err(subject), Err(reference)) => return subject == reference,
        _ => return false,
    };
    // Equal values in different bytes (an attribute, a length with leading zeros) are a difference.
    subject.raw == reference.raw
        || (subject.value != reference.value
            && values_agree(rule, hashtable, &subject.value, &reference.value))
}

/// As [`agree`] for replies that are part of another one.
pub fn values_agree(rule: Rule, hashtable: bool, ours: &Value, theirs: &Value) -> bool {
    if ours == theirs {
        return true;
    }
    if ours.is_error() || theirs.is_error() {
        return false;
    }
    match rule {
        Rule::Exact => false,
        Rule::UnorderedIfHashtable => hashtable && same_elements(ours, theirs),
        Rule::UnorderedPairsIfHashtable => hashtable && same_pairs(ours, theirs),
        Rule::ExactUnlessHashtable => {
            kind(ours) == kind(theirs)
                && (hashtable || [ours, theirs].into_iter().all(is_dumped_listpack_set))
        }
        Rule::ScanPage => same_scan(ours, theirs, |_, _| true),
        Rule::Unordered => same_elements(ours, theirs),
        Rule::UnorderedPairs => same_pairs(ours, theirs),
        Rule::Scan => same_scan(ours, theirs, same_elements),
        Rule::ScanPairs => same_scan(ours, theirs, same_pairs),
        Rule::Shape => same_shape(ours, theirs),
        Rule::Kind => kind(ours) == kind(theirs),
        Rule::Near(tolerance) => near(ours, theirs, i64::MAX, tolerance),
        Rule::NearBelow { limit, tolerance } => near(ours, theirs, limit, tolerance),
        Rule::CommandInfo => without_notes(ours) == without_notes(theirs),
        Rule::TiesIfHashtable => {
            let strings = |value: &Value| -> Vec<Vec<u8>> {
                let string = |item: &Value| {
                    item.bytes().and_then(|text| text.split(|b| *b == 0).next()).map(<[u8]>::to_vec)
                };
                value.items().iter().filter_map(string).collect()
            };
            hashtable && ours.items().len() == theirs.items().len() && strings(ours) == strings(theirs)
        }
        Rule::StreamTimes(tolerance) => stream_times_near(ours, theirs, tolerance),
        Rule::Hello => {
            let without_id = |value: &Value| {
                let mut entries = value.entries();
                entries.retain(|(name, value)| name.bytes() != Some(b"id") || value.integer().is_none());
                entries
            };
            kind(ours) == kind(theirs)
                && without_id(ours) == without_id(theirs)
                && ours.entries().len() == theirs.entries().len()
        }
        Rule::ClientFields => kind(ours) == kind(theirs) && client_fields(ours) == client_fields(theirs),
    }
}

/// Whether this is what DUMP makes of a set in a listpack.
fn is_dumped_listpack_set(value: &Value) -> bool {
    /// RDB type `SET_LISTPACK`.
    const SET_LISTPACK: u8 = 20;
    value.bytes().is_some_and(|bytes| bytes.first() == Some(&SET_LISTPACK))
}

/// The value with the text that follows each `notes` emptied.
pub fn without_notes(value: &Value) -> Value {
    let is_notes = |value: &Value| value.bytes() == Some(b"notes");
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(without_notes).collect();
            for place in 1..items.len() {
                if is_notes(&items[place - 1]) {
                    items[place] = Value::Null;
                }
            }
            Value::Array(items)
        }
        Value::Set(items) => Value::Set(items.iter().map(without_notes).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| {
                    (key.clone(), if is_notes(key) { Value::Null } else { without_notes(value) })
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Simple(_) => b'+',
        Value::Error(_) => b'-',
        Value::Integer(_) => b':',
        Value::Bulk(_) => b'$',
        Value::NullBulk => b'n',
        Value::NullArray => b'N',
        Value::Null => b'_',
        Value::Array(_) => b'*',
        Value::Map(_) => b'%',
        Value::Set(_) => b'~',
        Value::Push(_) => b'>',
        Value::Double(_) => b',',
        Value::Boolean(_) => b'#',
        Value::BigNumber(_) => b'(',
        Value::BulkError(_) => b'!',
        Value::Verbatim(..) => b'=',
    }
}

fn same_multiset(mut ours: Vec<String>, mut theirs: Vec<String>) -> bool {
    ours.sort_unstable();
    theirs.sort_unstable();
    ours == theirs
}

fn same_elements(ours: &Value, theirs: &Value) -> bool {
    if let (Value::Map(_), Value::Map(_)) = (ours, theirs) {
        return same_pairs(ours, theirs);
    }
    let texts = |value: &Value| value.items().iter().map(Value::to_string).collect();
    kind(ours) == kind(theirs) && same_multiset(texts(ours), texts(theirs))
}

fn same_pairs(ours: &Value, theirs: &Value) -> bool {
    let texts = |value: &Value| value.entries().iter().map(|(key, value)| format!("{key} {value}")).collect();
    kind(ours) == kind(theirs)
        && ours.items().len() == theirs.items().len()
        && same_multiset(texts(ours), texts(theirs))
}

fn same_scan(ours: &Value, theirs: &Value, same: fn(&Value, &Value) -> bool) -> bool {
    let ([our_cursor, our_page], [their_cursor, their_page]) = (ours.items(), theirs.items()) else {
        return false;
    };
    if kind(our_cursor) != kind(their_cursor) || kind(our_page) != kind(their_page) {
        return false;
    }
    let done = |cursor: &Value| cursor.bytes() == Some(b"0");
    !(done(our_cursor) && done(their_cursor)) || same(our_page, their_page)
}

fn same_shape(ours: &Value, theirs: &Value) -> bool {
    if kind(ours) != kind(theirs) || ours.items().len() != theirs.items().len() {
        return false;
    }
    if let (Value::Map(ours), Value::Map(theirs)) = (ours, theirs) {
        return ours.len() == theirs.len();
    }
    ours.items().iter().zip(theirs.items()).all(|(ours, theirs)| same_shape(ours, theirs))
}

fn near(ours: &Value, theirs: &Value, limit: i64, tolerance: i64) -> bool {
    match (ours, theirs) {
        (Value::Integer(ours), Value::Integer(theirs)) => {
            // Small numbers are answers such as -1 and -2, not times.
            ours == theirs
                || (*ours >= 0
                    && *theirs >= 0
                    && *theirs < limit
                    && ours.abs_diff(*theirs) <= tolerance.unsigned_abs())
        }
        (Value::Map(ours), Value::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| ours.0 == theirs.0 && near(&ours.1, &theirs.1, limit, tolerance))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| near(ours, theirs, limit, tolerance))
        }
        _ => ours == theirs,
    }
}

/// Times in descriptions of streams: what is named so, the third of four elements (XPENDING), and Unix times.
fn stream_times_near(ours: &Value, theirs: &Value, tolerance: i64) -> bool {
    const UNIX_TIME_MS_MIN: i64 = 1_000_000_000_000;
    let is_named = |name: Option<&Value>| {
        let name = name.and_then(Value::bytes).unwrap_or_default();
        [b"idle".as_slice(), b"inactive", b"seen-time", b"active-time"].contains(&name)
    };
    let same = |is_time: bool, ours: &Value, theirs: &Value| match (ours, theirs) {
        (Value::Integer(a), Value::Integer(b)) if is_time || a.min(b) >= &UNIX_TIME_MS_MIN => {
            near(ours, theirs, i64::MAX, tolerance)
        }
        _ => stream_times_near(ours, theirs, tolerance),
    };
    match (ours, theirs) {
        (Value::Map(ours), Value::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| {
                    ours.0 == theirs.0 && same(is_named(Some(&ours.0)), &ours.1, &theirs.1)
                })
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).enumerate().all(|(index, (a, b))| {
                    let named = index.checked_sub(1).is_some_and(|before| is_named(ours.get(before)));
                    same(named || (ours.len() == 4 && index == 2), a, b)
                })
        }
        _ => ours == theirs,
    }
}

fn client_fields(value: &Value) -> Vec<String> {
    value
        .text()
        .lines()
        .map(|line| {
            line.split(' ')
                .map(|field| match field.split_once('=') {
                    Some((name, _)) if CLIENT_FIELDS_NOT_COMPARED.contains(&name) => format!("{name}=*"),
                    _ => field.to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}
