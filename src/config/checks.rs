//! Rules for the contents of textual directives.

use super::directive::Refusal;

/// Fails with the reason unless the condition holds.
fn ensure(condition: bool, reason: &'static str) -> Result<(), Refusal> {
    if condition { Ok(()) } else { Err(reason.into()) }
}

fn is_plain_file_name(name: &[u8]) -> bool {
    !name.contains(&b'/') && !name.contains(&b'\\')
}

pub fn dbfilename(name: &[u8]) -> Result<(), Refusal> {
    ensure(!name.is_empty(), "dbfilename can't be empty")?;
    ensure(is_plain_file_name(name), "dbfilename can't be a path, just a filename")
}

pub fn appendfilename(name: &[u8]) -> Result<(), Refusal> {
    ensure(!name.is_empty(), "appendfilename can't be empty")?;
    ensure(is_plain_file_name(name), "appendfilename can't be a path, just a filename")
}

pub fn appenddirname(name: &[u8]) -> Result<(), Refusal> {
    ensure(!name.is_empty(), "appenddirname can't be empty")?;
    ensure(is_plain_file_name(name), "appenddirname can't be a path, just a dirname")
}

pub fn cluster_config_file(name: &[u8]) -> Result<(), Refusal> {
    ensure(!name.is_empty(), "cluster-config-file can't be empty")
}

pub fn hash_seed(seed: &[u8]) -> Result<(), Refusal> {
    ensure(seed.len() <= 256, "hash-seed must be less than or equal to 256 characters")
}

/// What may stand in `nodes.conf` and on the bus without confusing their readers.
fn is_node_text(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-./:_`".contains(byte) || *byte >= 0x80)
}

pub fn cluster_announce_ip(address: &[u8]) -> Result<(), Refusal> {
    ensure(address.len() <= 45, "cluster-announce-ip is too long")?;
    ensure(is_node_text(address), "cluster-announce-ip contains invalid character")
}

pub fn cluster_announce_human_nodename(name: &[u8]) -> Result<(), Refusal> {
    ensure(is_node_text(name), "Announced human node name contained invalid character")
}

pub fn cluster_announce_hostname(name: &[u8]) -> Result<(), Refusal> {
    ensure(name.len() < 256, "Hostnames must be less than 256 characters")?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
    ensure(name.iter().all(allowed), "Hostnames may only contain alphanumeric characters, hyphens or dots")
}

fn parses_as<T: std::str::FromStr>(text: &[u8]) -> bool {
    text.is_empty() || std::str::from_utf8(text).is_ok_and(|text| text.parse::<T>().is_ok())
}

pub fn ipv4(address: &[u8]) -> Result<(), Refusal> {
    ensure(parses_as::<std::net::Ipv4Addr>(address), "Invalid IPv4 address")
}

pub fn ipv6(address: &[u8]) -> Result<(), Refusal> {
    ensure(parses_as::<std::net::Ipv6Addr>(address), "Invalid IPv6 address")
}

/// Locales that order by bytes, which is how SORT ALPHA does it here.
pub fn locale_collate(name: &[u8]) -> Result<(), Refusal> {
    ensure(matches!(name, b"" | b"C" | b"POSIX" | b"C.UTF-8" | b"C.utf8"), "Invalid locale name")
}

/// The variables of `proc-title-template`.
const TITLE_VARIABLES: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

/// Fills in a process title. `{name}` is a variable, `{{` a brace. `None` if a variable is unknown or not closed.
pub fn expand_title(template: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open + 1..];
        if let Some(after) = rest.strip_prefix('{') {
            out.push('{');
            rest = after;
        } else {
            let close = rest.find('}')?;
            out.push_str(&variable(&rest[..close])?);
            rest = &rest[close + 1..];
        }
    }
    out.push_str(rest);
    Some(out)
}

pub fn proc_title_template(template: &[u8]) -> Result<(), Refusal> {
    let template = String::from_utf8_lossy(template);
    // The program's own name does not count: the rest must leave something to show.
    let sample = |name: &str| if name == "title" { String::new() } else { "x".to_string() };
    let known = |name: &str| TITLE_VARIABLES.contains(&name).then(|| sample(name));
    let title = expand_title(&template, known);
    ensure(
        title.is_some_and(|title| !title.trim().is_empty()),
        "template format is invalid or contains unknown variables",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_templates() {
        for good in ["{title} {listen-addr} {server-mode}", "{{x", "}", "{title}}", "{{title}}", "{port}"] {
            assert!(proc_title_template(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", " ", "{x", "{}", "{TITLE}", "{title", "{title}"] {
            assert!(proc_title_template(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn announced_names() {
        assert!(cluster_announce_ip(b"host.x_y").is_ok());
        assert!(cluster_announce_ip(b"a b").is_err());
        assert!(cluster_announce_hostname(b"under_score").is_err());
        assert!(cluster_announce_human_nodename(b"a=b").is_err());
        assert!(ipv4(b"1.2.3.4").is_ok() && ipv4(b"x").is_err() && ipv6(b"::1").is_ok());
    }
}
