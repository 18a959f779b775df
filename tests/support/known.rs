//! The accepted differences listed in `docs/compatibility.md`.
//!
//! The page holds fenced blocks that people read and tests check:
//!
//! ````text
//! ```surface command.missing
//! Not built yet, planned with the collection types:
//!   lpush rpush
//! ```
//! ````
//!
//! After `surface` comes the area. A line without indentation that ends with a colon is the reason for the items in
//! the indented lines below it, separated by blanks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::server::repository;

/// Accepted differences: area to item to reason.
pub struct Known {
    areas: BTreeMap<String, BTreeMap<String, String>>,
}

impl Known {
    /// Reads the page; a missing page accepts nothing. Panics on lines that are neither reason nor items.
    pub fn load() -> Self {
        let path = repository().join("docs/compatibility.md");
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    pub fn parse(page: &str) -> Self {
        let mut areas: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut area: Option<String> = None;
        let mut reason = String::new();
        for line in page.lines() {
            match &area {
                None => {
                    if let Some(name) = line.strip_prefix("```surface ") {
                        area = Some(name.trim().to_owned());
                        reason.clear();
                    }
                }
                Some(_) if line.starts_with("```") => area = None,
                Some(_) if line.trim().is_empty() => {}
                Some(name) if line.starts_with(' ') => {
                    assert!(!reason.is_empty(), "docs/compatibility.md: {name}: no reason above: {line}");
                    let items = areas.entry(name.clone()).or_default();
                    for item in line.split_whitespace() {
                        let before = items.insert(item.to_owned(), reason.clone());
                        assert!(before.is_none(), "docs/compatibility.md: {name}: {item} is listed twice");
                    }
                }
                Some(name) => {
                    let text = line.trim().strip_suffix(':').unwrap_or_default();
                    assert!(
                        text.len() > 10,
                        "docs/compatibility.md: {name}: a reason ends with a colon: {line}"
                    );
                    reason = text.to_owned();
                }
            }
        }
        Self { areas }
    }

    /// Whether an item of an area is listed.
    pub fn holds(&self, area: &str, item: &str) -> bool {
        self.areas.get(area).is_some_and(|items| items.contains_key(item))
    }

    /// Compares the differences found in an area with the list: what is not listed, and what is listed but no longer
    /// differs. `None` if they are the same.
    pub fn check(&self, area: &str, found: &BTreeSet<String>) -> Option<String> {
        let none = BTreeMap::new();
        let listed = self.areas.get(area).unwrap_or(&none);
        let unlisted: Vec<&str> =
            found.iter().filter(|item| !listed.contains_key(*item)).map(String::as_str).collect();
        let stale: Vec<&str> =
            listed.keys().filter(|item| !found.contains(*item)).map(String::as_str).collect();
        if unlisted.is_empty() && stale.is_empty() {
            return None;
        }
        let mut text = format!("area {area}:\n");
        if !unlisted.is_empty() {
            text.push_str(&format!(
                "  differ but are not listed in docs/compatibility.md: {}\n",
                unlisted.join(" ")
            ));
        }
        if !stale.is_empty() {
            text.push_str(&format!("  are listed but do not differ: {}\n", stale.join(" ")));
        }
        Some(text)
    }
}
