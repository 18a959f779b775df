//! Who sees an expired key how (spec key-lifetime.md, sections 0.3 and 0.4).

use crate::keyspace::{ExpiryRules, Treatment};

/// What the treatment of expired keys depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    pub loading: bool,
    pub is_replica: bool,
    pub replica_read_only: bool,
    /// The command comes over the link from our primary.
    pub from_primary: bool,
    /// The connection carries a slot migration to us.
    pub slot_import_link: bool,
    pub import_mode: bool,
    /// CLIENT IMPORT-SOURCE ON.
    pub import_source: bool,
    /// CLIENT PAUSE, failover, shutdown wait.
    pub expiry_paused: bool,
}

impl Situation {
    /// Evaluates the list of section 0.3 from the top.
    pub fn rules(self) -> ExpiryRules {
        let last = if self.expiry_paused { Treatment::Hide } else { Treatment::Delete };
        let (read, write) = if self.loading || (self.is_replica && self.from_primary) {
            (Treatment::Show, Treatment::Show)
        } else if self.is_replica {
            (Treatment::Hide, if self.replica_read_only { Treatment::Hide } else { last })
        } else if self.slot_import_link || (self.import_mode && self.import_source) {
            (Treatment::Show, Treatment::Show)
        } else if self.import_mode {
            (Treatment::Hide, last)
        } else {
            (last, last)
        };
        let store_past = self.loading || self.is_replica || self.import_mode || self.slot_import_link;
        ExpiryRules { read, write, store_past }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Treatment::{Delete, Hide, Show};

    #[test]
    fn each_column_of_the_matrix_has_its_treatment() {
        let of = |s: Situation| (s.rules().read, s.rules().write, s.rules().store_past);
        let none = Situation::default();
        assert_eq!(of(none), (Delete, Delete, false));
        assert_eq!(of(Situation { import_mode: true, ..none }), (Hide, Delete, true));
        assert_eq!(of(Situation { import_mode: true, import_source: true, ..none }), (Show, Show, true));
        assert_eq!(of(Situation { import_source: true, ..none }), (Delete, Delete, false));
        assert_eq!(of(Situation { is_replica: true, replica_read_only: true, ..none }), (Hide, Hide, true));
        assert_eq!(of(Situation { is_replica: true, ..none }), (Hide, Delete, true));
        assert_eq!(of(Situation { is_replica: true, from_primary: true, ..none }), (Show, Show, true));
        assert_eq!(of(Situation { slot_import_link: true, ..none }), (Show, Show, true));
        assert_eq!(of(Situation { loading: true, ..none }), (Show, Show, true));
        assert_eq!(of(Situation { expiry_paused: true, ..none }), (Hide, Hide, false));
    }
}
