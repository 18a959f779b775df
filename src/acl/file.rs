//! Users from the configuration and from the file of `aclfile`.

use std::collections::BTreeMap;

use super::Acl;
use super::rules::{RuleError, has_spaces, merge_selectors};
use super::user::{Fresh, User};

/// Checks a `user` line of the configuration (`words` begins with `user`). Commands that do not exist are found out
/// later, as in the reference server.
///
/// # Errors
/// The reason to show. (The word it quotes is the one the reference server quotes, which counts from the wrong place.)
pub fn check_declaration(words: &[&[u8]]) -> Result<(), String> {
    let quoted = |at: usize, reason: &str| {
        let word = String::from_utf8_lossy(words.get(at).copied().unwrap_or_default()).into_owned();
        format!("Error in user declaration '{word}': {reason}")
    };
    let rules = merge_selectors(&words[2..]).map_err(|at| quoted(at, "Wrong format"))?;
    let mut user = User::new(words[1], Fresh::default());
    for (at, rule) in rules.iter().enumerate() {
        match user.apply(rule, Fresh::default()) {
            Ok(()) | Err(RuleError::Unknown) => {}
            Err(error) => return Err(quoted(at, &error.to_string())),
        }
    }
    Ok(())
}

/// Adds the users of the configuration's `user` lines (name and rules each).
///
/// # Errors
/// The line to log.
pub fn load_declarations(acl: &mut Acl, declarations: &[Vec<&[u8]>], fresh: Fresh) -> Result<(), String> {
    for words in declarations {
        let Some((name, rules)) = words.split_first() else { continue };
        if has_spaces(name) {
            return Err("Spaces not allowed in ACL usernames".to_owned());
        }
        let mut user = User::new(name, fresh);
        for rule in merge_selectors(rules).unwrap_or_default() {
            user.apply(&rule, fresh).map_err(|error| {
                format!(
                    "Error loading ACL rule '{}' for the user named '{}': {error}",
                    String::from_utf8_lossy(&rule),
                    String::from_utf8_lossy(name)
                )
            })?;
        }
        acl.insert(user);
    }
    Ok(())
}

/// Reads an ACL file. `path` is what messages call it.
///
/// # Errors
/// All that is wrong with it, in one line.
pub fn parse(text: &[u8], path: &str, fresh: Fresh) -> Result<Acl, Vec<u8>> {
    let mut users: BTreeMap<Vec<u8>, User> = BTreeMap::new();
    let mut errors = Vec::new();
    for (number, line) in text.split(|&b| b == b'\n').enumerate() {
        let line = trim(line, b" \t\r\n");
        if !line.is_empty() {
            load_line(line, &format!("{path}:{}", number + 1), number + 1, fresh, &mut users, &mut errors);
        }
    }
    if errors.is_empty() {
        let mut acl = Acl::new();
        users.into_values().for_each(|user| acl.insert(user));
        return Ok(acl);
    }
    errors.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(errors)
}

fn load_line(
    line: &[u8],
    place: &str,
    number: usize,
    fresh: Fresh,
    users: &mut BTreeMap<Vec<u8>, User>,
    errors: &mut Vec<u8>,
) {
    let mut complain = |parts: &[&[u8]]| errors.extend(parts.concat());
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let (b"user", [_, name, rules @ ..]) = (words[0], words.as_slice()) else {
        let text = format!("{place} should start with user keyword followed by the username. ");
        return complain(&[text.as_bytes()]);
    };
    if has_spaces(name) {
        let head = format!("'{place}: username '");
        return complain(&[head.as_bytes(), name, b"' contains invalid characters. "]);
    }
    if users.contains_key(*name) {
        let tail = format!("' found on line {number}. ");
        return complain(&[b"WARNING: Duplicate user '", name, tail.as_bytes()]);
    }
    let mut user = User::new(name, fresh);
    match merge_selectors(rules) {
        Err(_) => complain(&[place.as_bytes(), b": Unmatched parenthesis in selector definition."]),
        Ok(rules) => {
            let mut told = false;
            for rule in &rules {
                let rule = trim(rule, b"\t\r\n");
                match user.apply(rule, fresh) {
                    Ok(()) => {}
                    // Names of commands are no secrets; of other mistakes only the first is told, since it may cause more.
                    Err(error @ RuleError::Unknown) => {
                        let tail = format!("': {error}. ");
                        complain(&[
                            place.as_bytes(),
                            b": Error in applying operation '",
                            rule,
                            tail.as_bytes(),
                        ]);
                    }
                    Err(error) if !told => {
                        told = true;
                        complain(&[format!("{place}: {error}. ").as_bytes()]);
                    }
                    Err(_) => {}
                }
            }
        }
    }
    users.insert(name.to_vec(), user);
}

fn trim<'a>(text: &'a [u8], set: &[u8]) -> &'a [u8] {
    let start = text.iter().position(|b| !set.contains(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !set.contains(b)).map_or(start, |at| at + 1);
    &text[start..end]
}
