//! `nodes.conf` on the disk: locked for as long as the process lives, replaced as a whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use skuld::cluster::config_file::Saved;

use crate::clock;
use crate::configure::os_text;

/// The file, locked.
pub struct NodesFile {
    path: PathBuf,
    /// Held, not used: the lock is the descriptor's.
    _lock: Flock<File>,
}

/// A text for the log; the process cannot go on.
pub type Fatal = String;

impl NodesFile {
    /// Locks the file, making it if there is none, and reads it. None: it is new.
    ///
    /// # Errors
    /// Another node uses it, or it cannot be read.
    pub fn open(name: &str) -> Result<(Self, Option<Saved>), Fatal> {
        let path = PathBuf::from(name);
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|e| format!("Can't open {name} in order to acquire a lock: {}", os_text(&e)))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| match e {
            nix::errno::Errno::EWOULDBLOCK => format!(
                "Sorry, the cluster configuration file {name} is already used by a different Cluster node. Please \
                 make sure that different nodes use different cluster configuration files."
            ),
            e => format!("Impossible to lock {name}: {}", os_text(&e.into())),
        })?;
        let text = std::fs::read(&path)
            .map_err(|e| format!("Loading the cluster node config from {name}: {}", os_text(&e)))?;
        let saved = if text.is_empty() {
            None
        } else {
            let saved = Saved::parse(&text).map_err(|e| e.to_string())?;
            for variable in &saved.unknown_variables {
                tracing::info!("Skipping unknown cluster config variable '{variable}'");
            }
            Some(saved)
        };
        Ok((Self { path, _lock: lock }, saved))
    }

    /// Replaces the content. A reader, or a node that starts after a crash, finds the old or the new content.
    ///
    /// # Errors
    /// What to log; the file is as it was.
    pub fn write(&self, text: &str, fsync: bool) -> Result<(), String> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(format!(".tmp-{}-{}", std::process::id(), clock::unix_ms()));
        let temporary = PathBuf::from(temporary);
        let written = replace(&temporary, &self.path, text, fsync);
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}

fn replace(temporary: &Path, path: &Path, text: &str, fsync: bool) -> Result<(), String> {
    let said = |what: &'static str| move |e: io::Error| format!("{what}: {}", os_text(&e));
    let mut file = File::create(temporary).map_err(said("Could not open temp cluster config file"))?;
    file.write_all(text.as_bytes())
        .map_err(|e| format!("Failed after writing (0) bytes to tmp cluster config file: {}", os_text(&e)))?;
    if fsync {
        file.sync_all().map_err(said("Could not sync tmp cluster config file"))?;
    }
    std::fs::rename(temporary, path).map_err(said("Could not rename tmp cluster config file"))?;
    if fsync {
        let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(said("Could not sync cluster config file dir"))?;
    }
    Ok(())
}
