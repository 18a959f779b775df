//! Which clients CLIENT LIST shows and CLIENT KILL ends: filters, each with its opposite.

use std::sync::atomic::Ordering;

use skuld::acl::Acl;
use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;

use super::client::letters;
use crate::clients::{ClientShared, flag};

/// The types of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    Normal,
    Primary,
    Replica,
    PubSub,
}

/// What a client must be, and (`not_*`) must not be. All conditions given hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub ids: Option<Vec<u64>>,
    pub not_ids: Option<Vec<u64>>,
    pub max_age_s: Option<i64>,
    pub idle_s: Option<i64>,
    pub kind: Option<ClientType>,
    pub not_kind: Option<ClientType>,
    pub addr: Option<Vec<u8>>,
    pub not_addr: Option<Vec<u8>>,
    pub laddr: Option<Vec<u8>>,
    pub not_laddr: Option<Vec<u8>>,
    pub user: Option<Vec<u8>>,
    pub not_user: Option<Vec<u8>>,
    pub flags: Option<Vec<u8>>,
    pub not_flags: Option<Vec<u8>>,
    pub name: Option<Vec<u8>>,
    pub not_name: Option<Vec<u8>>,
    pub lib_name: Option<Vec<u8>>,
    pub not_lib_name: Option<Vec<u8>>,
    pub lib_ver: Option<Vec<u8>>,
    pub not_lib_ver: Option<Vec<u8>>,
    pub db: Option<u32>,
    pub not_db: Option<u32>,
    pub capa: Option<Vec<u8>>,
    pub not_capa: Option<Vec<u8>>,
    pub ip: Option<Vec<u8>>,
    pub not_ip: Option<Vec<u8>>,
    pub skip_me: Option<bool>,
}

/// The letters that FLAGS may name.
const FLAG_LETTERS: &[u8] = b"bcdeirtuxABEIMNOPRSTU";

fn quoting(before: &str, word: &[u8], after: &str) -> CommandError {
    CommandError::Bytes([before.as_bytes(), word, after.as_bytes()].concat())
}

/// Reads pairs of a filter's name and its value; the IDs may be several. `databases` bounds DB.
///
/// # Errors
/// Valkey's lines.
pub fn parse(args: &[Vec<u8>], databases: u32, acl: &Acl) -> Result<Filter, CommandError> {
    let mut filter = Filter::default();
    let mut at = 0;
    while at < args.len() {
        let option = args[at].to_ascii_lowercase();
        if matches!(option.as_slice(), b"id" | b"not-id") {
            let ids = if option == b"id" { &mut filter.ids } else { &mut filter.not_ids };
            at = parse_ids(args, at + 1, ids.get_or_insert_default())?;
            continue;
        }
        let Some(value) = args.get(at + 1) else { return Err(CommandError::Syntax) };
        at += 2;
        match option.as_slice() {
            b"maxage" => filter.max_age_s = Some(parse_seconds(value, "maxage")?),
            b"idle" => filter.idle_s = Some(parse_seconds(value, "idle")?),
            b"type" => filter.kind = Some(parse_kind(value)?),
            b"not-type" => filter.not_kind = Some(parse_kind(value)?),
            b"addr" => filter.addr = Some(value.clone()),
            b"not-addr" => filter.not_addr = Some(value.clone()),
            b"laddr" => filter.laddr = Some(value.clone()),
            b"not-laddr" => filter.not_laddr = Some(value.clone()),
            b"user" => filter.user = Some(parse_user(value, acl)?),
            b"not-user" => filter.not_user = Some(parse_user(value, acl)?),
            b"flags" => filter.flags = Some(parse_flags(value, "provided")?),
            b"not-flags" => filter.not_flags = Some(parse_flags(value, "NOT-FLAGS")?),
            b"name" => filter.name = Some(value.clone()),
            b"not-name" => filter.not_name = Some(value.clone()),
            b"lib-name" => filter.lib_name = Some(value.clone()),
            b"not-lib-name" => filter.not_lib_name = Some(value.clone()),
            b"lib-ver" => filter.lib_ver = Some(value.clone()),
            b"not-lib-ver" => filter.not_lib_ver = Some(value.clone()),
            b"db" => filter.db = Some(parse_db(value, "DB", databases)?),
            b"not-db" => filter.not_db = Some(parse_db(value, "NOT-DB", databases)?),
            b"capa" => filter.capa = Some(parse_capa(value, "provided")?),
            b"not-capa" => filter.not_capa = Some(parse_capa(value, "NOT-CAPA")?),
            b"ip" => filter.ip = Some(value.clone()),
            b"not-ip" => filter.not_ip = Some(value.clone()),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = Some(true),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = Some(false),
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(filter)
}

/// Reads numbers as long as there are any; returns where they end.
fn parse_ids(args: &[Vec<u8>], mut at: usize, ids: &mut Vec<u64>) -> Result<usize, CommandError> {
    while let Some(id) = args.get(at).and_then(|word| parse_integer(word)) {
        match u64::try_from(id) {
            Ok(id) if id > 0 => ids.push(id),
            _ => return Err(CommandError::fixed("ERR client-id should be greater than 0")),
        }
        at += 1;
    }
    Ok(at)
}

fn parse_seconds(word: &[u8], what: &str) -> Result<i64, CommandError> {
    let seconds = parse_integer(word)
        .ok_or_else(|| CommandError::text(format!("ERR {what} is not an integer or out of range")))?;
    if seconds <= 0 {
        return Err(CommandError::text(format!("ERR {what} should be greater than 0")));
    }
    Ok(seconds)
}

fn parse_kind(word: &[u8]) -> Result<ClientType, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(ClientType::Normal),
        b"primary" | b"master" => Ok(ClientType::Primary),
        b"replica" | b"slave" => Ok(ClientType::Replica),
        b"pubsub" => Ok(ClientType::PubSub),
        _ => Err(quoting("ERR Unknown client type '", word, "'")),
    }
}

fn parse_user(word: &[u8], acl: &Acl) -> Result<Vec<u8>, CommandError> {
    if acl.get(word).is_some() { Ok(word.to_vec()) } else { Err(quoting("ERR No such user '", word, "'")) }
}

/// `which` is how the error names the filter.
fn parse_flags(word: &[u8], which: &str) -> Result<Vec<u8>, CommandError> {
    if word.iter().all(|letter| FLAG_LETTERS.contains(letter)) {
        Ok(word.to_vec())
    } else {
        Err(quoting(&format!("ERR Unknown flags found in the {which} filter: "), word, ""))
    }
}

fn parse_capa(word: &[u8], which: &str) -> Result<Vec<u8>, CommandError> {
    if word.iter().all(|letter| *letter == b'r') {
        Ok(word.to_vec())
    } else {
        Err(quoting(&format!("ERR Unknown capa found in the {which} filter: "), word, ""))
    }
}

fn parse_db(word: &[u8], which: &str, databases: u32) -> Result<u32, CommandError> {
    let db = parse_integer(word)
        .and_then(|n| i32::try_from(n).ok())
        .ok_or_else(|| CommandError::text(format!("ERR {which} is not an integer or out of range")))?;
    match u32::try_from(db) {
        Ok(db) if db < databases => Ok(db),
        _ => Err(CommandError::text(format!("ERR {which} number should be between 0 and {}", databases - 1))),
    }
}

/// The address without its port.
fn ip_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Filter {
    /// Whether all conditions hold for a client.
    pub fn matches(&self, client: &ClientShared, now_ms: i64) -> bool {
        let names = client.names();
        let is = |wanted: &Option<Vec<u8>>, has: &[u8]| wanted.as_ref().is_none_or(|w| w == has);
        let is_not = |unwanted: &Option<Vec<u8>>, has: &[u8]| unwanted.as_ref().is_none_or(|w| w != has);
        let letters = letters(client);
        let has_all = |wanted: &[u8], has: &[u8]| wanted.iter().all(|letter| has.contains(letter));
        let capa: &[u8] =
            if client.flags.load(Ordering::Relaxed) & flag::CAPA_REDIRECT != 0 { b"r" } else { b"" };
        let db = client.db.load(Ordering::Relaxed);
        let age_s = (now_ms - client.connected_ms) / 1000;
        let idle_s = (now_ms - client.last_interaction_ms.load(Ordering::Relaxed)) / 1000;
        let kind = match () {
            () if client.is_primary() => ClientType::Primary,
            () if client.is_replica() => ClientType::Replica,
            () if client.is_subscriber() => ClientType::PubSub,
            () => ClientType::Normal,
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.not_ids.as_ref().is_none_or(|ids| !ids.contains(&client.id))
            && self.max_age_s.is_none_or(|limit| age_s >= limit)
            && self.idle_s.is_none_or(|limit| idle_s >= limit)
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.not_kind.is_none_or(|unwanted| unwanted != kind)
            && is(&self.addr, client.peer.as_bytes())
            && is_not(&self.not_addr, client.peer.as_bytes())
            && is(&self.laddr, client.local.as_bytes())
            && is_not(&self.not_laddr, client.local.as_bytes())
            && is(&self.user, &names.user)
            && is_not(&self.not_user, &names.user)
            && is(&self.name, &names.name)
            && is_not(&self.not_name, &names.name)
            && is(&self.lib_name, &names.lib_name)
            && is_not(&self.not_lib_name, &names.lib_name)
            && is(&self.lib_ver, &names.lib_ver)
            && is_not(&self.not_lib_ver, &names.lib_ver)
            && is(&self.ip, ip_of(&client.peer).as_bytes())
            && is_not(&self.not_ip, ip_of(&client.peer).as_bytes())
            && self.flags.as_ref().is_none_or(|w| has_all(w, letters.as_bytes()))
            && self.not_flags.as_ref().is_none_or(|w| !has_all(w, letters.as_bytes()))
            && self.capa.as_ref().is_none_or(|w| has_all(w, capa))
            && self.not_capa.as_ref().is_none_or(|w| !has_all(w, capa))
            && self.db.is_none_or(|wanted| wanted == db)
            && self.not_db.is_none_or(|unwanted| unwanted != db)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Filter, String> {
        let args: Vec<Vec<u8>> = words.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        parse(&args, 16, &Acl::new()).map_err(|e| e.to_string())
    }

    #[test]
    fn filters_are_read_and_refused_as_in_valkey() {
        let filter = parsed("id 3 4 TYPE normal skipme yes not-db 2").expect("valid");
        assert_eq!(filter.ids, Some(vec![3, 4]));
        assert_eq!((filter.skip_me, filter.not_db), (Some(true), Some(2)));
        assert_eq!(parsed("id 3 id").map(|f| f.ids), Ok(Some(vec![3])));
        for (words, line) in [
            ("id x", "ERR syntax error"),
            ("foo bar", "ERR syntax error"),
            ("type", "ERR syntax error"),
            ("skipme maybe", "ERR syntax error"),
            ("id 0", "ERR client-id should be greater than 0"),
            ("type foo", "ERR Unknown client type 'foo'"),
            ("user nosuch", "ERR No such user 'nosuch'"),
            ("maxage x", "ERR maxage is not an integer or out of range"),
            ("idle 0", "ERR idle should be greater than 0"),
            ("flags NZ", "ERR Unknown flags found in the provided filter: NZ"),
            ("capa z", "ERR Unknown capa found in the provided filter: z"),
            ("not-flags Q", "ERR Unknown flags found in the NOT-FLAGS filter: Q"),
            ("not-capa z", "ERR Unknown capa found in the NOT-CAPA filter: z"),
            ("not-db x", "ERR NOT-DB is not an integer or out of range"),
            ("not-db -1", "ERR NOT-DB number should be between 0 and 15"),
            ("db x", "ERR DB is not an integer or out of range"),
            ("db -1", "ERR DB number should be between 0 and 15"),
        ] {
            assert_eq!(parsed(words), Err(line.to_owned()), "{words}");
        }
    }

    #[test]
    fn addresses_without_ports() {
        assert_eq!(ip_of("127.0.0.1:5"), "127.0.0.1");
        assert_eq!(ip_of("[::1]:5"), "::1");
        assert_eq!(ip_of("[/tmp/s:0]:0"), "/tmp/s:0");
    }
}
