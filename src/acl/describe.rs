//! Users as rules that would make them again: lines of files, ACL LIST, ACL GETUSER.

use super::selector::{KeyPattern, READ, Selector, WRITE};
use super::user::User;

impl User {
    /// The flags in the order they are shown.
    pub fn flags(&self) -> Vec<&'static str> {
        let all = [
            (self.enabled, "on"),
            (!self.enabled, "off"),
            (self.nopass, "nopass"),
            (self.skip_sanitize_payload, "skip-sanitize-payload"),
        ];
        all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }

    /// `user <name> <rules>`.
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"user ".to_vec();
        line.extend_from_slice(&self.name);
        line.push(b' ');
        line.extend(self.rules());
        line
    }

    /// The rules that make this user of a new one.
    pub fn rules(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self.flags().iter().map(|flag| flag.as_bytes().to_vec()).collect();
        words.extend(self.passwords().map(|hash| [b"#", hash].concat()));
        for (at, selector) in self.selectors.iter().enumerate() {
            let rules = selector.rules();
            words.push(if at == 0 { rules } else { [b"(".as_slice(), &rules, b")"].concat() });
        }
        words.join(&b' ')
    }
}

impl Selector {
    /// All rules of the selector.
    pub fn rules(&self) -> Vec<u8> {
        let mut words = Vec::new();
        if self.all_keys {
            words.push(b"~*".to_vec());
        } else {
            words.extend(self.keys.iter().map(key_pattern));
        }
        if self.all_channels {
            words.push(b"&*".to_vec());
        } else {
            words.push(b"resetchannels".to_vec());
            words.extend(self.channels.iter().map(|pattern| [b"&", &**pattern].concat()));
        }
        if !self.all_databases {
            words.push(if self.databases.is_empty() { b"resetdbs".to_vec() } else { self.database_rules() });
        }
        words.push(self.command_rules());
        words.join(&b' ')
    }

    /// `commands` of ACL GETUSER: `-@all +get`.
    pub fn command_rules(&self) -> Vec<u8> {
        let mut out = if self.from_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.command_rules {
            out.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            out.extend_from_slice(&rule.text);
        }
        out
    }

    /// `keys` of ACL GETUSER.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        self.keys.iter().map(key_pattern).collect::<Vec<_>>().join(&b' ')
    }

    /// `channels` of ACL GETUSER.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|pattern| [b"&", &**pattern].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// `databases` of ACL GETUSER.
    pub fn database_rules(&self) -> Vec<u8> {
        if self.all_databases {
            return b"alldbs".to_vec();
        }
        if self.databases.is_empty() {
            return Vec::new();
        }
        let numbers: Vec<String> = self.databases.iter().map(u32::to_string).collect();
        format!("db={}", numbers.join(",")).into_bytes()
    }
}

fn key_pattern(key: &KeyPattern) -> Vec<u8> {
    let head: &[u8] = match key.permissions {
        READ => b"%R~",
        WRITE => b"%W~",
        _ => b"~",
    };
    [head, &key.pattern].concat()
}
