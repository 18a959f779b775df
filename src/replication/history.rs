//! Names of replication histories (spec page replication.md, sections 1, 4 and 10).

/// Characters of a name.
pub const NAME_LENGTH: usize = 40;

/// The history a server is part of: its name, how far it has come, and the name it had before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// 40 characters, lower-case hexadecimal unless a primary chose otherwise.
    pub name: String,
    /// Bytes of the stream so far.
    pub offset: i64,
    /// The name before the last promotion, and the first offset that it does not cover.
    pub former: Option<(String, i64)>,
}

impl History {
    /// A history that begins now.
    pub fn new(name: String) -> Self {
        Self { name, offset: 0, former: None }
    }

    /// Whether who has this history up to (and without) byte `from` has a prefix of ours.
    pub fn covers(&self, name: &[u8], from: i64) -> bool {
        name.eq_ignore_ascii_case(self.name.as_bytes())
            || self
                .former
                .as_ref()
                .is_some_and(|(former, end)| name.eq_ignore_ascii_case(former.as_bytes()) && from <= *end)
    }

    /// Goes on under a new name; the old one stays valid up to here (promotion, and a primary that was promoted).
    pub fn branch(&mut self, name: String) {
        let former = std::mem::replace(&mut self.name, name);
        self.former = Some((former, self.offset + 1));
    }

    /// Goes on under a new name that shares nothing with the old one.
    pub fn rename(&mut self, name: String) {
        self.name = name;
        self.former = None;
    }

    /// The former name as INFO shows it, and its end.
    pub fn shown_former(&self) -> (String, i64) {
        self.former.clone().unwrap_or_else(|| ("0".repeat(NAME_LENGTH), -1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_replica_continues_for_those_who_followed_the_same_primary() {
        let old = "a".repeat(NAME_LENGTH);
        let mut history = History::new(old.clone());
        history.offset = 100;
        history.branch("b".repeat(NAME_LENGTH));
        history.offset = 150;
        assert!(history.covers(&[b'B'; NAME_LENGTH], 151));
        assert!(history.covers(old.as_bytes(), 101));
        assert!(!history.covers(old.as_bytes(), 102), "the old primary went on without us");
        history.rename("c".repeat(NAME_LENGTH));
        assert!(!history.covers(old.as_bytes(), 50));
        assert_eq!(history.shown_former(), ("0".repeat(NAME_LENGTH), -1));
    }
}
