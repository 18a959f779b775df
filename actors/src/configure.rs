//! From arguments, files and environment to a configuration, or to the reasons why not.
//!
//! The layers are sources of the `config` crate; each contributes a branch of its own to the tree, because Valkey's
//! grammar decides what a later line means to an earlier one (some directives add up), and that grammar is the
//! engine's ([`skuld::config`]).

use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use config::{ConfigError, Map, Source, Value, ValueKind};
use skuld::config::{CommandLine, Config, ConfigProblem, Files, Layers, Origin, Strictness, parse_text};

/// A configuration that the server may start with.
#[derive(Debug)]
pub struct Configured {
    pub config: Config,
    pub warnings: Vec<ConfigProblem>,
    /// The configuration file, absolute.
    pub file: Option<String>,
    /// For problems found later, to tell the line they came from.
    pub lines: Lines,
}

/// Which line set a directive.
#[derive(Debug, Default)]
pub struct Lines(Layers);

/// Why there is no configuration.
#[derive(Debug)]
pub enum Failure {
    /// The configuration file or standard input cannot be read; the text to log.
    Unreadable(String),
    Problems(Vec<ConfigProblem>),
}

/// Bytes as text of the tree, one character each: configuration need not be UTF-8, the tree's strings must.
fn to_tree(bytes: &[u8]) -> ValueKind {
    ValueKind::String(bytes.iter().map(|&b| char::from(b)).collect())
}

fn from_tree(value: &Value) -> Vec<u8> {
    match &value.kind {
        ValueKind::String(text) => text.chars().map(|c| c as u8).collect(),
        _ => Vec::new(),
    }
}

/// One layer: its name in the tree and its contents.
#[derive(Clone, Debug)]
struct Layer {
    name: &'static str,
    contents: ValueKind,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let origin = self.name.to_owned();
        Ok([(self.name.to_owned(), Value::new(Some(&origin), self.contents.clone()))].into_iter().collect())
    }
}

fn pair(a: &[u8], b: &[u8]) -> ValueKind {
    ValueKind::Array(vec![Value::new(None, to_tree(a)), Value::new(None, to_tree(b))])
}

fn pair_of(value: &Value) -> Option<(Vec<u8>, Vec<u8>)> {
    match &value.kind {
        ValueKind::Array(both) => Some((from_tree(both.first()?), from_tree(both.get(1)?))),
        _ => None,
    }
}

/// Reads the sources of the process: `arguments` without the program's name and without flags of our own.
fn sources(command_line: &CommandLine) -> Result<Vec<Layer>, String> {
    let mut layers = Vec::new();
    if let Some(path) = &command_line.file {
        let shown = String::from_utf8_lossy(path);
        let text = std::fs::read(std::ffi::OsStr::from_bytes(path))
            .map_err(|e| format!("Fatal error, can't open config file '{shown}': {}", os_text(&e)))?;
        layers.push(Layer { name: "file", contents: pair(shown.as_bytes(), &text) });
    }
    if command_line.stdin {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .map_err(|e| format!("Fatal error, can't read config from standard input: {}", os_text(&e)))?;
        layers.push(Layer { name: "stdin", contents: to_tree(&text) });
    }
    let variables = std::env::vars_os()
        .filter(|(name, _)| name.as_bytes().starts_with(skuld::config::environment::PREFIX.as_bytes()))
        .map(|(name, value)| Value::new(None, pair(name.as_bytes(), value.as_bytes())))
        .collect();
    layers.push(Layer { name: "environment", contents: ValueKind::Array(variables) });
    layers.push(Layer { name: "options", contents: to_tree(&command_line.text) });
    Ok(layers)
}

/// Builds the tree and hands its branches to the engine in its own terms.
fn layers(command_line: &CommandLine, strictness: Strictness) -> Result<Layers, String> {
    let mut builder = config::Config::builder();
    for layer in sources(command_line)? {
        builder = builder.add_source(layer);
    }
    let tree = builder.build().map_err(|e| e.to_string())?;
    let mut layers = Layers { strictness, ..Layers::default() };
    let Ok(branches) = tree.cache.into_table() else { return Ok(layers) };
    for (name, value) in branches {
        match (name.as_str(), &value.kind) {
            ("file", _) => {
                layers.file =
                    pair_of(&value).map(|(path, text)| (String::from_utf8_lossy(&path).into_owned(), text));
            }
            ("stdin", _) => layers.stdin = Some(from_tree(&value)),
            ("environment", ValueKind::Array(variables)) => {
                layers.environment = variables
                    .iter()
                    .filter_map(pair_of)
                    .map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value))
                    .collect();
            }
            ("options", _) => layers.command_line = from_tree(&value),
            _ => {}
        }
    }
    Ok(layers)
}

/// Reads the configuration that the arguments (without the program's name) ask for.
///
/// # Errors
/// Every problem of the text at once, or what could not be read.
pub fn configure(arguments: &[Vec<u8>], strictness: Strictness) -> Result<Configured, Failure> {
    let command_line = CommandLine::parse(arguments);
    let layers = layers(&command_line, strictness).map_err(Failure::Unreadable)?;
    let loaded = Config::load(&layers, &mut Disk).map_err(Failure::Problems)?;
    let file = command_line.file.map(|path| {
        let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(path));
        let path = std::path::absolute(&path).unwrap_or(path);
        path.display().to_string()
    });
    Ok(Configured { config: loaded.config, warnings: loaded.warnings, file, lines: Lines(layers) })
}

impl Lines {
    /// A problem with the last line that sets `directive` (with this first value, if given).
    pub fn problem(&self, directive: &str, value: Option<&[u8]>, reason: &str) -> ConfigProblem {
        let newlines = |text: &[u8]| text.iter().filter(|b| **b == b'\n').count();
        let mut texts: Vec<(&[u8], Origin, usize)> = Vec::new();
        let mut line = 1;
        if let Some((name, text)) = &self.0.file {
            texts.push((text, Origin::File(name.clone()), line));
            line += newlines(text);
        }
        if let Some(text) = &self.0.stdin {
            texts.push((text, Origin::Stdin, line));
            line += newlines(text);
        }
        texts.push((&self.0.command_line, Origin::CommandLine, line + 1));
        for (text, origin, first) in texts.into_iter().rev() {
            let statements = parse_text(text, &origin, first, &mut Disk);
            let found = statements.into_iter().flatten().rfind(|s| {
                s.words[0] == directive.as_bytes()
                    && value.is_none_or(|v| s.words.get(1).is_some_and(|w| w == v))
            });
            if let Some(s) = found {
                return *ConfigProblem::at(s.origin, s.line, &s.text, reason);
            }
        }
        ConfigProblem::whole(reason)
    }
}

/// Names the present directory in full: that is what CONFIG GET dir shows and CONFIG REWRITE writes.
pub fn name_directory(config: &mut Config) {
    use std::os::unix::ffi::OsStrExt;
    if let Ok(directory) = std::env::current_dir() {
        config.dir = directory.as_os_str().as_bytes().to_vec().into();
    }
}

/// The text of an operating system error as C programs print it, without Rust's `(os error N)`.
pub fn os_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The real files behind `include` lines and `_FILE` variables.
struct Disk;

impl Files for Disk {
    fn include(&mut self, pattern: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let is_pattern = pattern.iter().any(|b| b"*?[".contains(b));
        let paths = if is_pattern { glob(pattern) } else { vec![pattern.to_vec()] };
        let mut files = Vec::new();
        for path in paths {
            let os_path = std::ffi::OsStr::from_bytes(&path);
            let text = std::fs::read(os_path).map_err(|e| os_text(&e))?;
            files.push((String::from_utf8_lossy(&path).into_owned(), text));
        }
        Ok(files)
    }

    fn secret(&mut self, path: &[u8]) -> Result<Vec<u8>, String> {
        std::fs::read(std::ffi::OsStr::from_bytes(path)).map_err(|e| os_text(&e))
    }
}

/// The existing paths a shell pattern names, sorted.
fn glob(pattern: &[u8]) -> Vec<Vec<u8>> {
    let Ok(pattern) = std::ffi::CString::new(pattern) else { return Vec::new() };
    // SAFETY: `found` is plain data for which zero is valid. `glob` fills it and `globfree` frees what it filled;
    // between the two, `gl_pathv` holds `gl_pathc` C strings.
    unsafe {
        let mut found: libc::glob_t = std::mem::zeroed();
        let mut paths = Vec::new();
        if libc::glob(pattern.as_ptr(), 0, None, &mut found) == 0 {
            for at in 0..found.gl_pathc {
                paths.push(std::ffi::CStr::from_ptr(*found.gl_pathv.add(at)).to_bytes().to_vec());
            }
        }
        libc::globfree(&mut found);
        paths
    }
}

/// The share of the container's limit that `maxmemory auto` leaves to data: buffers, the allocator's slack and the
/// kernel's share need the rest.
const AUTO_PERCENT: u64 = 75;

/// The machine's memory, bytes.
pub fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    kib.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The memory the process may use, bytes: the container's limit, or what the machine has.
fn memory_limit() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let machine = total_memory();
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(number)
        .chain(machine)
        .min()
}

/// What `maxmemory auto` means here, bytes; 0 (no limit) if nothing is known.
pub fn auto_maxmemory() -> u64 {
    memory_limit().map_or(0, |limit| limit / 100 * AUTO_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: &[&str]) -> Vec<Vec<u8>> {
        arguments.iter().map(|a| a.as_bytes().to_vec()).collect()
    }

    #[test]
    fn options_beat_the_file_and_includes_are_followed() {
        let dir = std::env::temp_dir().join(format!("skuld-configure-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("part-a.conf"), "maxclients 77\n").expect("written");
        std::fs::write(dir.join("part-b.conf"), "hz 33\n").expect("written");
        let main = dir.join("main.conf");
        std::fs::write(&main, format!("port 1\ninclude {}/part-*.conf\nhz 34\n", dir.display()))
            .expect("written");
        let main = main.display().to_string();
        let done = configure(&words(&[&main, "--port", "2"]), Strictness::Strict).expect("valid");
        assert_eq!((done.config.port, done.config.maxclients, done.config.hz), (2, 77, 34));
        assert_eq!(done.file.as_deref(), Some(&*main));
        assert_eq!(done.lines.problem("port", None, "x").line, 5);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn missing_files_and_bad_lines_are_told() {
        match configure(&words(&["/nonexistent/x.conf"]), Strictness::Strict) {
            Err(Failure::Unreadable(text)) => assert_eq!(
                text,
                "Fatal error, can't open config file '/nonexistent/x.conf': No such file or directory"
            ),
            other => panic!("{other:?}"),
        }
        match configure(&words(&["--port", "x", "--nosuch", "1"]), Strictness::Strict) {
            Err(Failure::Problems(all)) => assert_eq!(all.len(), 2),
            other => panic!("{other:?}"),
        }
        assert!(configure(&words(&["--nosuch", "1"]), Strictness::Lenient).is_ok());
    }
}
