//! DUMP, RESTORE, RESTORE-ASKING.
//!
//! RESTORE travels to replicas with an absolute deadline; one that has passed makes it the deletion of what it replaced
//! (spec page key-lifetime.md, section 1.4).

use super::delete::make_room;
use crate::commands::context::{CommandError, Context, Outcome};
use crate::effects::class;
use crate::keyspace::NewValue;
use crate::rdb::payload::{Footer, PayloadError, dump as dump_value, restore as restore_value};
use crate::rdb::{Compression, Limits};

/// `DUMP key`
pub fn dump(ctx: &mut Context<'_>) -> Outcome {
    let compression = Compression::on_if(ctx.config.rdbcompression);
    match ctx.db.read(ctx.arg(1)).map(|entry| dump_value(&entry.value(), compression)) {
        Some(payload) => ctx.reply.bulk(&payload),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// What follows the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    /// Seconds since the last use.
    idle: Option<i64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(ctx: &Context<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 4;
        while at < ctx.args.len() {
            let has_value = at + 1 < ctx.args.len();
            if ctx.is_word(at, "replace") {
                options.replace = true;
            } else if ctx.is_word(at, "absttl") {
                options.absolute = true;
            } else if ctx.is_word(at, "idletime") && has_value && options.frequency.is_none() {
                at += 1;
                let idle = ctx.integer(at)?;
                if idle < 0 {
                    return Err(CommandError::fixed("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle = Some(idle);
            } else if ctx.is_word(at, "freq") && has_value && options.idle.is_none() {
                at += 1;
                let invalid = CommandError::fixed("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(u8::try_from(ctx.integer(at)?).map_err(|_| invalid)?);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

impl From<PayloadError> for CommandError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Footer => Self::fixed("ERR DUMP payload version or checksum are wrong"),
            PayloadError::ForeignType(kind) => {
                Self::text(format!("ERR Unsupported foreign data type: {kind}"))
            }
            PayloadError::Value(reason) => Self::BadData(reason),
        }
    }
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub fn restore(ctx: &mut Context<'_>) -> Outcome {
    let options = Options::parse(ctx)?;
    let key = ctx.arg(1);
    if !options.replace && ctx.db.write(key).is_some() {
        return Err(CommandError::fixed("BUSYKEY Target key name already exists."));
    }
    let ttl = ctx.integer(2)?;
    if ttl < 0 {
        return Err(CommandError::fixed("ERR Invalid TTL value, must be >= 0"));
    }
    let value = restore_value(ctx.arg(3), Footer::of(ctx.config), &Limits::of(ctx.config))?;
    // A sum beyond the range of time is long past, as it is for Valkey.
    let deadline = match ttl {
        0 => None,
        ttl if options.absolute => Some(ttl),
        ttl => Some(ctx.db.now.wrapping_add(ttl)),
    };
    let existed = options.replace && ctx.db.peek(ctx.db.db, key).is_some();
    let db = ctx.db.db;
    make_room(ctx, db, key);
    if deadline.is_some_and(|when| when <= ctx.db.now) && !ctx.db.rules.store_past {
        ctx.db.discard(value);
        if existed {
            let verb: &[u8] = if ctx.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
            ctx.db.rewrite(&[verb, key]);
            ctx.db.changed(class::GENERIC, "del", key);
        }
        ctx.reply.ok();
        return Ok(());
    }
    ctx.db.insert(key, NewValue::Owned(value), deadline);
    set_use(ctx, key, &options);
    if let (Some(when), false) = (deadline, options.absolute) {
        propagate_absolute(ctx, when);
    }
    ctx.db.changed(class::GENERIC, "restore", key);
    ctx.reply.ok();
    Ok(())
}

/// Sets how long ago or how often the key was used, whichever the eviction policy looks at.
fn set_use(ctx: &mut Context<'_>, key: &[u8], options: &Options) {
    let touch = ctx.db.touch;
    let word = match (touch.lfu, options.frequency, options.idle) {
        (true, Some(frequency), _) => (touch.clock & 0xffff) << 8 | u32::from(frequency),
        // The clock of 24 bits wraps, and idle times with it.
        (false, _, Some(idle)) => touch.clock.wrapping_sub(idle as u32) & 0xff_ffff,
        _ => return,
    };
    if let Some(entry) = ctx.db.again(key) {
        entry.set_access_word(entry.access_word() & 0xff00_0000 | word);
    }
}

fn propagate_absolute(ctx: &mut Context<'_>, when: i64) {
    let mut digits = itoa::Buffer::new();
    let mut words = ctx.args.to_vec();
    words[2] = digits.format(when).as_bytes();
    words.push(b"ABSTTL");
    ctx.db.rewrite(&words);
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Bench;
    use crate::rdb::payload::seal;

    fn payload() -> Vec<u8> {
        let mut payload = b"\x00\x05hello".to_vec();
        seal(&mut payload, 80);
        payload
    }

    /// Runs RESTORE with the payload of a string; `words` are the key, the time to live and the options.
    fn restore(bench: &mut Bench, key: &str, ttl: &str, options: &str) -> String {
        let payload = payload();
        let mut args: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), &payload];
        args.extend(options.split_whitespace().map(str::as_bytes));
        String::from_utf8_lossy(&bench.run_bytes(&args)).into_owned()
    }

    #[test]
    fn what_dump_says_restore_understands() {
        let mut bench = Bench::new();
        bench.say("RPUSH list a 1 b");
        assert_eq!(bench.say("DUMP nothing"), "$-1\r\n");
        let reply = bench.run_bytes(&[b"DUMP", b"list"]);
        let start = reply.iter().position(|byte| *byte == b'\n').expect("a bulk reply") + 1;
        let dumped = reply[start..reply.len() - 2].to_vec();
        assert_eq!(bench.run_bytes(&[b"RESTORE", b"copy", b"0", &dumped]), b"+OK\r\n");
        assert_eq!(bench.say("LRANGE copy 0 -1"), "*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n");
        let at = dumped.len() - 11;
        let mut damaged = dumped;
        damaged[at] ^= 1;
        let refused = bench.run_bytes(&[b"RESTORE", b"other", b"0", &damaged]);
        assert_eq!(refused, b"-ERR DUMP payload version or checksum are wrong\r\n");
        let mut senseless = b"\x01\x00".to_vec();
        seal(&mut senseless, 80);
        let refused = bench.run_bytes(&[b"RESTORE", b"other", b"0", &senseless]);
        assert_eq!(refused, b"-ERR Bad data format\r\n");
        assert_eq!(bench.say("EXISTS other"), ":0\r\n");
    }

    /// In the order in which Valkey finds them.
    #[test]
    fn refusals_come_in_order() {
        let mut bench = Bench::new();
        bench.put(0, "old", "x", None);
        for (key, ttl, options, error) in [
            ("old", "x", "NONSENSE", "ERR syntax error"),
            ("new", "0", "IDLETIME", "ERR syntax error"),
            ("new", "0", "IDLETIME 1 FREQ 1", "ERR syntax error"),
            ("new", "0", "FREQ 1 IDLETIME 1", "ERR syntax error"),
            ("new", "0", "IDLETIME x", "ERR value is not an integer or out of range"),
            ("new", "0", "IDLETIME -1", "ERR Invalid IDLETIME value, must be >= 0"),
            ("new", "0", "FREQ 256", "ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("new", "0", "FREQ -1", "ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("old", "x", "", "BUSYKEY Target key name already exists."),
            ("new", "x", "", "ERR value is not an integer or out of range"),
            ("new", "-1", "", "ERR Invalid TTL value, must be >= 0"),
        ] {
            assert_eq!(
                restore(&mut bench, key, ttl, options),
                format!("-{error}\r\n"),
                "{key} {ttl} {options}"
            );
        }
        assert!(bench.stream().is_empty() && bench.events().is_empty());
    }

    #[test]
    fn deadlines_travel_as_absolute_times() {
        let mut bench = Bench::new();
        let sent = |words: &str| {
            let payload = String::from_utf8_lossy(&payload()).into_owned();
            format!("0:RESTORE {}", words.replace("PAYLOAD", &payload))
        };
        restore(&mut bench, "a", "0", "");
        restore(&mut bench, "b", "500", "");
        restore(&mut bench, "c", "2000000", "absttl");
        restore(&mut bench, "a", "500", "REPLACE");
        assert_eq!(
            bench.stream(),
            [
                sent("a 0 PAYLOAD"),
                sent("b 1000500 PAYLOAD ABSTTL"),
                sent("c 2000000 PAYLOAD absttl"),
                sent("a 1000500 PAYLOAD REPLACE ABSTTL"),
            ]
        );
        assert_eq!(
            bench.events(),
            [
                "0:new a",
                "0:restore a",
                "0:new b",
                "0:restore b",
                "0:new c",
                "0:restore c",
                "0:new a",
                "0:restore a"
            ]
        );
        assert_eq!(bench.modified(), ["0:a", "0:b", "0:c", "0:a"]);
        assert_eq!(bench.say("PTTL b"), ":500\r\n");
        assert_eq!(bench.say("PEXPIRETIME c"), ":2000000\r\n");
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_no_key() {
        let mut bench = Bench::new();
        assert_eq!(restore(&mut bench, "a", "1", "ABSTTL"), "+OK\r\n");
        assert_eq!(restore(&mut bench, "a", "9223372036854775807", ""), "+OK\r\n");
        assert!(bench.stream().is_empty() && bench.events().is_empty() && bench.effects.dirty == 0);
        assert_eq!(bench.say("EXISTS a"), ":0\r\n");
        bench.events();
        bench.put(0, "a", "x", None);
        assert_eq!(restore(&mut bench, "a", "1", "ABSTTL REPLACE"), "+OK\r\n");
        assert_eq!(bench.stream(), ["0:UNLINK a"]);
        assert_eq!(bench.events(), ["0:del a"]);
        assert_eq!(bench.modified(), ["0:a"]);
        assert_eq!(bench.effects.dirty, 1);
        bench.rules.store_past = true;
        assert_eq!(restore(&mut bench, "a", "1", "ABSTTL"), "+OK\r\n");
        assert_eq!(bench.events(), ["0:new a", "0:restore a"]);
    }

    #[test]
    fn idle_time_is_taken_over() {
        let mut bench = Bench::new();
        restore(&mut bench, "a", "0", "IDLETIME 1000");
        assert_eq!(bench.say("OBJECT IDLETIME a"), ":1000\r\n");
        restore(&mut bench, "a", "0", "REPLACE IDLETIME 17000000");
        assert_eq!(bench.say("OBJECT IDLETIME a"), ":222784\r\n");
        restore(&mut bench, "a", "0", "REPLACE FREQ 100");
        assert_eq!(bench.say("OBJECT IDLETIME a"), ":0\r\n");
    }
}
