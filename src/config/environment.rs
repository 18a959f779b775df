//! Configuration by environment variables: `SKULD_CONF_MAXMEMORY_POLICY=allkeys-lru` sets `maxmemory-policy`, and
//! `SKULD_CONF_REQUIREPASS_FILE=/run/secrets/x` sets `requirepass` to what the file holds. Values are taken as they
//! are; only directives of several words split them, by the rules of the file.

use super::directive::Flags;
use super::load::{FILE_ONLY, Files, ReadLine, Statement};
use super::problem::{ConfigProblem, Origin, nearest_name};
use super::split::split_words;
use super::table::find;

/// What the names of our variables begin with.
pub const PREFIX: &str = "SKULD_CONF_";

const FILE_SUFFIX: &str = "_FILE";

/// Turns variables into statements, ordered by name so that the outcome does not depend on the environment's order.
pub(super) fn statements(variables: &[(String, Vec<u8>)], files: &mut dyn Files) -> Vec<ReadLine> {
    let mut lines = Vec::new();
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    for (variable, value) in ours {
        match one(variable, value, files) {
            Ok(found) => lines.extend(found.into_iter().map(Ok)),
            Err(problem) => lines.push(Err(problem)),
        }
    }
    lines
}

fn is_known(name: &str) -> bool {
    find(name.as_bytes()).is_some() || FILE_ONLY.iter().any(|(known, ..)| *known == name)
}

/// `MAXMEMORY_POLICY` to `maxmemory-policy`.
fn directive_name(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

fn one(variable: &str, value: &[u8], files: &mut dyn Files) -> Result<Vec<Statement>, Box<ConfigProblem>> {
    let origin = Origin::Environment(variable.to_string());
    let rest = &variable[PREFIX.len()..];
    let mut name = directive_name(rest);
    let mut value = value.to_vec();
    let problem = |text: &str, reason: &str| ConfigProblem::at(origin.clone(), 1, text.as_bytes(), reason);
    // `SKULD_CONF_TLS_CERT_FILE` is the directive tls-cert-file, not the contents for tls-cert.
    if let (false, Some(stem)) = (is_known(&name), rest.strip_suffix(FILE_SUFFIX)) {
        let path = String::from_utf8_lossy(&value).into_owned();
        name = directive_name(stem);
        if is_known(&name) {
            let contents = files.secret(&value).map_err(|reason| {
                problem(&format!("{variable}={path}"), &format!("can't read '{path}': {reason}"))
            })?;
            value = contents;
            while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                value.pop();
            }
        }
    }
    if !is_known(&name) {
        let mut unknown = problem(variable, "Bad directive or wrong number of arguments");
        unknown.unknown = true;
        unknown.nearest = nearest_name(&name);
        return Err(unknown);
    }
    let secret = find(name.as_bytes()).is_some_and(|row| row.flags.has(Flags::SENSITIVE));
    let shown = if secret {
        variable.as_bytes().to_vec()
    } else {
        [variable.as_bytes(), b"=", value.as_slice()].concat()
    };
    let statement =
        |words: Vec<Vec<u8>>| Statement { origin: origin.clone(), line: 1, text: shown.clone(), words };
    let name = name.into_bytes();
    match find(&name) {
        Some(_) => Ok(vec![statement(vec![name, value])]),
        // File-only directives may be given several times: one line of the value each.
        None => value
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                let words = split_words(line)
                    .map_err(|_| problem(variable, "Unbalanced quotes in configuration line"))?;
                Ok(statement([vec![name.clone()], words].concat()))
            })
            .collect(),
    }
}
