//! From layers of text to a [`Config`]: defaults < file < standard input < environment < command line. All problems
//! are collected, so that a person mends a file in one go.

use super::directive::{Earlier, Flags};
use super::problem::{ConfigProblem, Origin, nearest_name};
use super::split::{split_words, trim};
use super::table::{Config, TABLE, index_of};
use super::text::Text;

/// Where a directive's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    #[default]
    Default,
    /// A file or standard input.
    File,
    Environment,
    CommandLine,
    /// CONFIG SET.
    Runtime,
}

/// The [`Source`] of every directive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// The source of the directive at this position of the table.
    pub fn of_index(&self, index: usize) -> Source {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// The source of the directive with this name or alias.
    pub fn of(&self, name: &str) -> Source {
        index_of(name.as_bytes()).map_or(Source::Default, |index| self.of_index(index))
    }

    /// Notes where a value came from.
    pub fn set(&mut self, index: usize, source: Source) {
        if self.0.len() < TABLE.len() {
            self.0.resize(TABLE.len(), Source::Default);
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = source;
        }
    }
}

/// One line of configuration, split into words, the first in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub origin: Origin,
    /// Counted from 1 within its origin.
    pub line: usize,
    /// The line as it stands, without blanks around it.
    pub text: Vec<u8>,
    /// Never empty.
    pub words: Vec<Vec<u8>>,
}

/// What configuration needs of the world; the engine itself does no I/O.
pub trait Files {
    /// The files an `include` line names: its argument may be a pattern. Each with its name and contents. No match of
    /// a pattern is no error, a missing plain file is.
    fn include(&mut self, pattern: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String>;

    /// The contents of a file that an environment variable ending in `_FILE` names.
    fn secret(&mut self, path: &[u8]) -> Result<Vec<u8>, String>;
}

/// For configuration that may not refer to files.
pub struct NoFiles;

impl Files for NoFiles {
    fn include(&mut self, _: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        Err("no file may be included here".to_string())
    }

    fn secret(&mut self, _: &[u8]) -> Result<Vec<u8>, String> {
        Err("no file may be read here".to_string())
    }
}

/// What to do about directives nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    #[default]
    Strict,
    /// They are warnings (`--lenient-config`).
    Lenient,
}

/// Everything that configures a server, lowest layer first.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Name and contents of the configuration file.
    pub file: Option<(String, Vec<u8>)>,
    /// What was read from standard input because of `-`.
    pub stdin: Option<Vec<u8>>,
    /// Variables of the environment; those that do not begin with `SKULD_CONF_` are skipped.
    pub environment: Vec<(String, Vec<u8>)>,
    /// See [`super::CommandLine::text`].
    pub command_line: Vec<u8>,
    pub strictness: Strictness,
}

/// A configuration that may be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<ConfigProblem>,
}

/// `include` may nest so deep; a file that includes itself ends here instead of never.
const INCLUDE_DEPTH_MAX: usize = 32;

/// All files together may hold so many lines.
const STATEMENTS_MAX: usize = 1_000_000;

/// Directives that stand in files only, and how many words they take (their own name included).
pub(super) const FILE_ONLY: &[(&str, usize, usize)] =
    &[("include", 2, 2), ("rename-command", 3, 3), ("user", 2, usize::MAX), ("loadmodule", 2, usize::MAX)];

/// Directives of earlier versions that are skipped when they have one value.
const RETIRED: &[&str] = &[
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "io-threads-do-reads",
    "dynamic-hz",
    "events-per-io-thread",
    "sanitize-dump-payload",
];

/// A line as far as it could be read.
pub type ReadLine = Result<Statement, Box<ConfigProblem>>;

/// Splits text into statements, `include` lines replaced by what they include. `first_line` is the number of the
/// first line.
pub fn parse_text(text: &[u8], origin: &Origin, first_line: usize, files: &mut dyn Files) -> Vec<ReadLine> {
    let mut parser = Parser { files, lines: Vec::new() };
    parser.text(text, origin, first_line, 0);
    parser.lines
}

struct Parser<'a> {
    files: &'a mut dyn Files,
    lines: Vec<ReadLine>,
}

impl Parser<'_> {
    fn text(&mut self, text: &[u8], origin: &Origin, first_line: usize, depth: usize) {
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line_text = trim(line);
            if line_text.is_empty() || line_text[0] == b'#' {
                continue;
            }
            let at = first_line + at;
            let problem = |reason: &str| ConfigProblem::at(origin.clone(), at, line_text, reason);
            if self.lines.len() >= STATEMENTS_MAX {
                self.lines.push(Err(problem("too many lines of configuration")));
                return;
            }
            let mut words = match split_words(line_text) {
                Ok(words) => words,
                Err(_) => {
                    self.lines.push(Err(problem("Unbalanced quotes in configuration line")));
                    continue;
                }
            };
            let Some(name) = words.first_mut() else { continue };
            name.make_ascii_lowercase();
            if name != b"include" || words.len() != 2 {
                let (origin, text) = (origin.clone(), line_text.to_vec());
                self.lines.push(Ok(Statement { origin, line: at, text, words }));
                continue;
            }
            if depth == INCLUDE_DEPTH_MAX {
                self.lines
                    .push(Err(problem("include lines are nested too deep (does a file include itself?)")));
                continue;
            }
            match self.files.include(&words[1]) {
                Ok(included) => {
                    for (name, contents) in included {
                        self.text(&contents, &Origin::File(name), 1, depth + 1);
                    }
                }
                Err(reason) => {
                    let path = String::from_utf8_lossy(&words[1]).into_owned();
                    let reason = format!("Fatal error, can't open config file '{path}': {reason}");
                    self.lines.push(Err(problem(&reason)));
                }
            }
        }
    }
}

impl Config {
    /// Reads all layers. Fails with every problem found; the first in the order of the layers comes first.
    pub fn load(layers: &Layers, files: &mut dyn Files) -> Result<Loaded, Vec<ConfigProblem>> {
        let mut lines = Vec::new();
        let newlines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        // Valkey numbers the lines of file, standard input and options as one text.
        let mut line = 1;
        if let Some((name, text)) = &layers.file {
            lines.extend(parse_text(text, &Origin::File(name.clone()), line, files));
            line += newlines(text);
        }
        if let Some(text) = &layers.stdin {
            lines.extend(parse_text(text, &Origin::Stdin, line, files));
            line += newlines(text);
        }
        lines.extend(super::environment::statements(&layers.environment, files));
        lines.extend(parse_text(&layers.command_line, &Origin::CommandLine, line + 1, files));
        Config::from_lines(&lines, layers.strictness)
    }

    /// Applies lines to the built-in values, in order.
    pub fn from_lines(lines: &[ReadLine], strictness: Strictness) -> Result<Loaded, Vec<ConfigProblem>> {
        let mut config = Config::default();
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        for line in lines {
            match line.as_ref().map_err(Clone::clone).and_then(|statement| config.apply(statement)) {
                Ok(()) => {}
                Err(problem) if problem.unknown && strictness == Strictness::Lenient => {
                    warnings.push(*problem)
                }
                Err(problem) => problems.push(*problem),
            }
        }
        if config.cluster_enabled && config.replicaof.is_some() {
            problems.push(ConfigProblem::whole("replicaof directive not allowed in cluster mode"));
        }
        if problems.is_empty() { Ok(Loaded { config, warnings }) } else { Err(problems) }
    }

    /// Applies one statement.
    fn apply(&mut self, statement: &Statement) -> Result<(), Box<ConfigProblem>> {
        let Statement { origin, line, text, words } = statement;
        let problem = |reason: &str| ConfigProblem::at(origin.clone(), *line, text, reason);
        let [name, values @ ..] = words.as_slice() else { return Ok(()) };
        let name_text = String::from_utf8_lossy(name).into_owned();
        let Some(index) = index_of(name) else {
            return self.apply_file_only(&name_text, statement);
        };
        let directive = &TABLE[index];
        let multi = directive.flags.has(Flags::MULTI);
        let complaint = |reason: &str| {
            let mut problem = problem(reason);
            problem.expected = Some(format!("{} takes {}", directive.name, directive.expected()));
            if directive.flags.has(Flags::SENSITIVE) {
                problem.hide_value(&name_text);
            }
            problem
        };
        if !multi && values.len() != 1 {
            return Err(complaint("wrong number of arguments"));
        }
        let split;
        let mut values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        // One quoted word may hold all the words.
        if let ([only], true) = (values.as_slice(), multi)
            && !only.is_empty()
        {
            split = split_words(only).map_err(|_| complaint("Unbalanced quotes in configuration line"))?;
            values = split.iter().map(Vec::as_slice).collect();
        }
        let source = origin.source();
        let earlier = match (self.sources.of_index(index), source) {
            // The environment overrides what a file says; lines of a file and options add up, as in Valkey.
            (Source::Default, _) | (_, Source::Environment) => Earlier::Replace,
            _ => Earlier::Keep,
        };
        directive.set(self, &values, earlier).map_err(|refusal| complaint(&refusal.0))?;
        self.sources.set(index, source);
        Ok(())
    }

    /// Applies a statement whose first word is no directive that CONFIG GET knows.
    fn apply_file_only(&mut self, name: &str, statement: &Statement) -> Result<(), Box<ConfigProblem>> {
        let Statement { origin, line, text, words } = statement;
        let problem = |reason: &str| ConfigProblem::at(origin.clone(), *line, text, reason);
        if RETIRED.contains(&name) && words.len() == 2 {
            return Ok(());
        }
        if let Some((_, least, most)) = FILE_ONLY.iter().find(|(known, ..)| *known == name)
            && !(*least..=*most).contains(&words.len())
        {
            return Err(problem("Bad directive or wrong number of arguments"));
        }
        let text_of =
            |at: usize| words.get(at).map_or_else(Text::default, |word| Text::from(word.as_slice()));
        match name {
            "user" => {
                let user = text_of(1);
                if self.users.iter().any(|known| known.first() == Some(&user)) {
                    return Err(problem(&format!(
                        "Error in user declaration '{user}': Duplicate user found. A user can only be defined once \
                         in config files"
                    )));
                }
                let declaration: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                if let Err(reason) = crate::acl::file::check_declaration(&declaration) {
                    return Err(problem(&reason));
                }
                self.users.push(words[1..].iter().map(|word| Text::from(word.as_slice())).collect());
            }
            "rename-command" => self.renamed_commands.push((text_of(1), text_of(2))),
            "loadmodule" => return Err(problem("modules cannot be loaded into this server")),
            "sentinel" => return Err(problem("sentinel directive while not in sentinel mode")),
            _ if name.contains('.') && words.len() < 2 => {
                return Err(problem("Module config specified without value"));
            }
            _ => {
                let mut unknown = problem("Bad directive or wrong number of arguments");
                unknown.unknown = true;
                unknown.nearest = nearest_name(name);
                return Err(unknown);
            }
        }
        Ok(())
    }

    /// Whether all values are the same, wherever they came from.
    pub fn same_values(&self, other: &Config) -> bool {
        Config { sources: Sources::default(), ..self.clone() }
            == Config { sources: Sources::default(), ..other.clone() }
    }
}
