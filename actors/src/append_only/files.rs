//! The directory of the append-only file: manifest and parts on disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use skuld::aof::manifest::{Manifest, ManifestError};
use skuld::config::Config;
use skuld::version::VERSION;

use crate::configure::os_text;
use crate::persistence::save::sync_directory;

/// Where the parts are and what they are called.
#[derive(Clone, Debug)]
pub struct Directory {
    pub path: PathBuf,
    /// `appendfilename`
    pub name: String,
}

impl Directory {
    pub fn of(config: &Config) -> Self {
        Self {
            path: PathBuf::from(&*config.appenddirname.to_str()),
            name: config.appendfilename.to_str().into_owned(),
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn manifest_path(&self) -> PathBuf {
        self.file(&format!("{}.manifest", self.name))
    }

    pub fn create(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
        .inspect_err(|e| {
            tracing::warn!("Can't open or create append-only dir {}: {}", self.path.display(), os_text(e));
        })
    }

    /// Reads the manifest; `None` if there is none. Ends the process if it cannot be believed.
    pub fn read_manifest(&self) -> Option<Manifest> {
        let path = self.manifest_path();
        if !self.path.exists() {
            tracing::trace!("The AOF directory {} doesn't exist", self.path.display());
            return None;
        }
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                tracing::trace!("The AOF manifest file {} doesn't exist", path.display());
                return None;
            }
            Err(e) => {
                tracing::warn!(
                    "Fatal error: can't open the AOF manifest file {} for reading: {}",
                    path.display(),
                    os_text(&e)
                );
                std::process::exit(1);
            }
        };
        match Manifest::parse(&text) {
            Ok(manifest) => Some(manifest),
            Err(error) => refuse_manifest(&error),
        }
    }

    /// Puts a manifest in the place of the old one.
    pub fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        use io::Write;
        let path = self.manifest_path();
        let temporary = self.file(&format!("temp-{}.manifest", self.name));
        let written = (|| {
            let mut file = File::create(&temporary)?;
            file.write_all(manifest.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_directory(&path)
        })();
        written.inspect_err(|e| {
            tracing::warn!(
                "Error trying to write the temporary AOF manifest file {}: {}",
                temporary.display(),
                os_text(e)
            );
        })
    }

    /// Opens a part for appending, with its length.
    pub fn open(&self, name: &str) -> io::Result<(File, u64)> {
        let path = self.file(name);
        let file = OpenOptions::new().append(true).create(true).open(&path).inspect_err(|e| {
            tracing::warn!("Can't open the append-only file {name}: {}", os_text(e));
        })?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    /// Deletes what the manifest calls history, and then the manifest's lines about it.
    pub fn delete_history(&self, manifest: &mut Manifest) -> io::Result<()> {
        if manifest.history.is_empty() {
            return Ok(());
        }
        for part in std::mem::take(&mut manifest.history) {
            tracing::info!("Removing the history file {} in the background", part.name);
            // What is left behind is named by no manifest and harms nobody.
            let _ = fs::remove_file(self.file(&part.name));
        }
        self.write_manifest(manifest)
    }

    /// Whether the manifest names the old file as its base, and it has not been moved here.
    pub fn awaits_old_file(&self, manifest: &Manifest) -> bool {
        let named = manifest.base.as_ref().is_some_and(|base| base.name == self.name);
        let old = Path::new(&self.name);
        named && manifest.incremental.is_empty() && !self.file(&self.name).exists() && old.is_file()
    }

    /// Moves an append-only file of the old kind, a single one in `dir`, into the directory as its base.
    pub fn adopt_old_file(&self, config: &Config) -> io::Result<Option<Manifest>> {
        let old = Path::new(&*config.appendfilename.to_str()).to_path_buf();
        if !old.is_file() {
            return Ok(None);
        }
        self.create()?;
        let manifest = Manifest {
            base: Some(skuld::aof::manifest::Part {
                name: self.name.clone(),
                sequence: 1,
                kind: skuld::aof::manifest::Kind::Base,
            }),
            base_sequence: 1,
            ..Manifest::default()
        };
        self.write_manifest(&manifest)?;
        fs::rename(&old, self.file(&self.name)).inspect_err(|e| {
            tracing::warn!(
                "Error trying to move the old AOF file {} into dir {}: {}",
                self.name,
                self.path.display(),
                os_text(e)
            );
        })?;
        sync_directory(&self.file(&self.name))?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
            self.name,
            self.path.display()
        );
        Ok(Some(manifest))
    }

    /// Bytes of all files to load.
    pub fn bytes(&self, manifest: &Manifest) -> u64 {
        manifest.to_load().filter_map(|part| fs::metadata(self.file(&part.name)).ok()).map(|m| m.len()).sum()
    }
}

fn refuse_manifest(error: &ManifestError) -> ! {
    eprintln!("\n*** FATAL AOF MANIFEST FILE ERROR ***");
    if error.line > 0 {
        eprintln!("Reading the manifest file, at line {}", error.line);
        eprintln!(">>> '{}'", error.text);
    }
    eprintln!("{}", error.reason);
    tracing::warn!("*** FATAL AOF MANIFEST FILE ERROR *** (version {VERSION}): {error}");
    std::process::exit(1);
}
