//! MULTI, EXEC, DISCARD, WATCH around commands of the other families, which arrive between them by chance.

use super::draw::command;
use super::{Entry, Family, fixed};

pub const FAMILY: Family = Family { name: "transactions", prefix: "s", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    fixed("multi", 3, |_| vec![command!["MULTI"]]),
    fixed("exec", 9, |_| vec![command!["EXEC"]]),
    fixed("discard", 2, |_| vec![command!["DISCARD"]]),
    fixed("watch", 2, |draw| {
        let mut command = command!["WATCH"];
        command.extend(draw.keys(1, 3));
        vec![command]
    }),
    fixed("unwatch", 1, |_| vec![command!["UNWATCH"]]),
    fixed("reset", 1, |_| vec![command!["RESET"]]),
];
