//! Effects as the stream carries them (spec page replication.md, section 8): each command preceded by SELECT where the
//! database changes, several that take effect together within MULTI and EXEC.

use crate::effects::{Audience, Propagation, encode_command};

/// What one stream has selected so far. Replicas and the append-only file each have their own.
#[derive(Debug, Default)]
pub struct Framer {
    db: Option<u32>,
}

impl Framer {
    /// The database the stream is in, if one was selected.
    pub fn db(&self) -> Option<u32> {
        self.db
    }

    /// Goes on in a database that was selected by other means, or (`None`) has the next command select one.
    pub fn set_db(&mut self, db: Option<u32>) {
        self.db = db;
    }

    /// Appends the effects, as far as they are for `whom`, to `out`.
    pub fn frame(&mut self, propagation: &Propagation, whom: Audience, out: &mut Vec<u8>) {
        propagation.for_each_group(whom, |group, of| {
            let several = of > 1;
            if several {
                encode_command(out, &[b"MULTI"]);
            }
            for &(db, command) in group {
                self.select(db, out);
                out.extend_from_slice(command);
            }
            if several {
                encode_command(out, &[b"EXEC"]);
            }
        });
    }

    fn select(&mut self, db: u32, out: &mut Vec<u8>) {
        if self.db != Some(db) {
            encode_command(out, &[b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
            self.db = Some(db);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Grouping;

    #[test]
    fn select_stands_inside_the_transaction_that_needs_it() {
        let mut propagation = Propagation::default();
        propagation.push(0, &[b"DEL", b"a"]);
        propagation.close_group(Grouping::Together);
        propagation.push(3, &[b"DEL", b"b"]);
        propagation.push(3, &[b"DEL", b"c"]);
        propagation.close_group(Grouping::Together);
        propagation.push(3, &[b"DEL", b"d"]);
        let mut framer = Framer::default();
        framer.set_db(Some(0));
        let mut out = Vec::new();
        framer.frame(&propagation, Audience::All, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        let words: Vec<&str> =
            text.split("\r\n").filter(|w| !w.starts_with(['*', '$']) && !w.is_empty()).collect();
        assert_eq!(words.join(" "), "DEL a MULTI SELECT 3 DEL b DEL c EXEC DEL d");
        assert_eq!(framer.db(), Some(3));
    }

    #[test]
    fn a_command_for_some_is_left_out_for_others_and_the_rest_stays_a_transaction() {
        let mut propagation = Propagation::default();
        for (key, audience) in
            [("a", Audience::All), ("b", Audience::File), ("c", Audience::Replicas), ("d", Audience::All)]
        {
            propagation.audience = audience;
            propagation.push(0, &[b"DEL", key.as_bytes()]);
        }
        propagation.close_group(Grouping::Together);
        propagation.audience = Audience::File;
        propagation.push(0, &[b"DEL", b"e"]);
        propagation.close_group(Grouping::Together);
        for (whom, expected) in [
            (Audience::All, "MULTI DEL a DEL b DEL c DEL d EXEC DEL e"),
            (Audience::Replicas, "MULTI DEL a DEL c DEL d EXEC"),
            (Audience::File, "MULTI DEL a DEL b DEL d EXEC DEL e"),
        ] {
            let mut framer = Framer::default();
            framer.set_db(Some(0));
            let mut out = Vec::new();
            framer.frame(&propagation, whom, &mut out);
            let text = String::from_utf8(out).expect("ASCII");
            let words: Vec<&str> =
                text.split("\r\n").filter(|w| !w.starts_with(['*', '$']) && !w.is_empty()).collect();
            assert_eq!(words.join(" "), expected);
        }
    }
}
