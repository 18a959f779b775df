//! The scripts that EVALSHA knows.
//!
//! Scripts that came by SCRIPT LOAD stay; of those that came by EVAL only the [`EVAL_SCRIPTS_MAX`] used last do, since
//! some clients make a new script for every call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{ScriptFlags, Sha};

/// Most scripts that EVAL may leave behind. The limit of the reference server.
pub const EVAL_SCRIPTS_MAX: usize = 500;

/// A script.
#[derive(Debug)]
pub struct Script {
    pub sha: Sha,
    /// Never reused within a process.
    pub id: u64,
    pub body: Vec<u8>,
    pub flags: ScriptFlags,
    /// Where the code begins in `body`.
    pub code_start: usize,
    /// It has written, or touched a key that was not declared: with several workers it reserves all keys.
    pub roams: AtomicBool,
}

impl Script {
    /// The text that is compiled.
    pub fn code(&self) -> &[u8] {
        &self.body[self.code_start..]
    }
}

struct Cached {
    script: Arc<Script>,
    /// When it was used last, in uses of all; None: it stays.
    used: Option<u64>,
}

/// The cache.
#[derive(Default)]
pub struct ScriptCache {
    scripts: HashMap<Sha, Cached, foldhash::fast::FixedState>,
    /// Scripts that may have to go.
    from_eval: usize,
    uses: u64,
    next_id: u64,
    body_bytes: usize,
    /// Scripts that had to go since the counters were reset.
    pub evicted: u64,
}

impl ScriptCache {
    /// The script of that name, which is being used.
    pub fn get(&mut self, sha: &Sha) -> Option<&Arc<Script>> {
        let cached = self.scripts.get_mut(sha)?;
        if let Some(used) = &mut cached.used {
            self.uses += 1;
            *used = self.uses;
        }
        Some(&cached.script)
    }

    /// The script of that name, which is only looked at.
    pub fn peek(&self, sha: &Sha) -> Option<&Arc<Script>> {
        self.scripts.get(sha).map(|cached| &cached.script)
    }

    /// Keeps a script for good if it is here.
    pub fn keep(&mut self, sha: &Sha) -> bool {
        let Some(cached) = self.scripts.get_mut(sha) else { return false };
        if cached.used.take().is_some() {
            self.from_eval -= 1;
        }
        true
    }

    /// Adds a script that is not here yet, for good or as one of EVAL's.
    pub fn add(
        &mut self,
        sha: Sha,
        body: &[u8],
        flags: ScriptFlags,
        code_start: usize,
        stays: bool,
    ) -> Arc<Script> {
        while !stays && self.from_eval >= EVAL_SCRIPTS_MAX {
            self.evict_one();
        }
        self.next_id += 1;
        self.uses += 1;
        self.body_bytes += body.len();
        let script = Arc::new(Script {
            sha,
            id: self.next_id,
            body: body.to_vec(),
            flags,
            code_start,
            roams: AtomicBool::new(false),
        });
        let used = (!stays).then_some(self.uses);
        self.from_eval += usize::from(!stays);
        self.scripts.insert(sha, Cached { script: Arc::clone(&script), used });
        script
    }

    fn evict_one(&mut self) {
        let oldest = self.scripts.iter().filter_map(|(sha, c)| Some((c.used?, *sha))).min();
        let Some((_, sha)) = oldest else { return };
        if let Some(cached) = self.scripts.remove(&sha) {
            self.body_bytes -= cached.script.body.len();
        }
        self.from_eval -= 1;
        self.evicted += 1;
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        self.scripts = HashMap::default();
        self.from_eval = 0;
        self.body_bytes = 0;
    }

    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// About how many bytes the scripts' texts and the table of their names take.
    pub fn memory(&self) -> usize {
        self.body_bytes
            + self.scripts.len() * size_of::<Script>()
            + self.scripts.capacity() * (size_of::<Sha>() + size_of::<Cached>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripting::sha1_hex;

    fn add(cache: &mut ScriptCache, n: usize, stays: bool) -> Sha {
        let body = format!("return {n}");
        let sha = sha1_hex(body.as_bytes());
        cache.add(sha, body.as_bytes(), ScriptFlags::UNDECLARED, 0, stays);
        sha
    }

    #[test]
    fn of_scripts_from_eval_those_used_last_stay() {
        let mut cache = ScriptCache::default();
        let loaded = add(&mut cache, 0, true);
        let names: Vec<Sha> = (1..=EVAL_SCRIPTS_MAX).map(|n| add(&mut cache, n, false)).collect();
        assert!(cache.get(&names[0]).is_some());
        add(&mut cache, 1000, false);
        assert_eq!(cache.len(), EVAL_SCRIPTS_MAX + 1);
        assert!(cache.peek(&loaded).is_some() && cache.peek(&names[0]).is_some());
        assert!(cache.peek(&names[1]).is_none());
        assert_eq!(cache.evicted, 1);
    }

    #[test]
    fn loading_a_script_keeps_it() {
        let mut cache = ScriptCache::default();
        let first = add(&mut cache, 0, false);
        assert!(cache.keep(&first));
        (1..=EVAL_SCRIPTS_MAX).for_each(|n| {
            add(&mut cache, n, false);
        });
        assert_eq!(cache.evicted, 0);
        cache.clear();
        assert_eq!((cache.len(), cache.keep(&first)), (0, false));
    }
}
