//! The libraries of functions that FUNCTION LOAD made, and the functions' names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::ScriptFlags;
use super::shebang::is_name;

/// A function, as its library registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub flags: ScriptFlags,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Never reused within a process.
    pub id: u64,
    pub name: Vec<u8>,
    /// The whole text, its first line included.
    pub code: Vec<u8>,
    /// Where the code begins.
    pub code_start: usize,
    pub functions: Vec<Function>,
    /// One of its functions has written, or touched a key that was not declared: with several workers they reserve all keys.
    pub roams: AtomicBool,
}

impl Library {
    /// Tests what a library registered. The error is a line for the client without its code word.
    pub fn check_functions(functions: &[Function]) -> Result<(), Vec<u8>> {
        for (index, function) in functions.iter().enumerate() {
            if !is_name(&function.name) {
                return Err(
                    b"Function names can only contain letters, numbers, or underscores(_) and must be at \
                             least one character long"
                        .to_vec(),
                );
            }
            if functions[..index].iter().any(|earlier| earlier.name == function.name) {
                return Err(b"Function already exists in the library".to_vec());
            }
        }
        if functions.is_empty() { Err(b"No functions registered".to_vec()) } else { Ok(()) }
    }

    /// About how many bytes it takes.
    fn memory(&self) -> usize {
        let functions: usize = self.functions.iter().map(|f| size_of::<Function>() + f.name.len()).sum();
        size_of::<Self>() + self.name.len() + self.code.len() + functions
    }
}

/// What to do with a library whose name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Replace,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    libraries: BTreeMap<Vec<u8>, Arc<Library>>,
    /// By name in lower case: functions are found in any case.
    functions: HashMap<Vec<u8>, (Arc<Library>, usize)>,
}

impl Libraries {
    /// The function of that name, in any case: its library and its place there.
    pub fn function(&self, name: &[u8]) -> Option<(&Arc<Library>, usize)> {
        let found = match self.functions.get(name) {
            Some(found) => Some(found),
            None => self.functions.get(&name.to_ascii_lowercase()),
        };
        found.map(|(library, index)| (library, *index))
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.libraries.get(name)
    }

    /// All libraries, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.libraries.values()
    }

    pub fn len(&self) -> usize {
        self.libraries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    pub fn memory(&self) -> usize {
        self.iter().map(|library| library.memory()).sum()
    }

    /// Adds a library. The error is a line for the client without its code word, and nothing is changed then.
    pub fn add(&mut self, library: Arc<Library>, existing: Existing) -> Result<(), Vec<u8>> {
        if existing == Existing::Refuse && self.libraries.contains_key(&library.name) {
            return Err([b"Library '", &library.name[..], b"' already exists"].concat());
        }
        for function in &library.functions {
            let taken = self.functions.get(&function.name.to_ascii_lowercase());
            if taken.is_some_and(|(owner, _)| owner.name != library.name) {
                return Err([b"Function ", &function.name[..], b" already exists"].concat());
            }
        }
        self.remove(&library.name);
        for (index, function) in library.functions.iter().enumerate() {
            let name = function.name.to_ascii_lowercase();
            self.functions.insert(name, (Arc::clone(&library), index));
        }
        self.libraries.insert(library.name.clone(), library);
        Ok(())
    }

    /// Removes a library; false if there is none of that name.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        self.functions.retain(|_, (owner, _)| owner.id != library.id);
        true
    }

    /// Adds all of `others`, or none of them: as [`Libraries::add`], with the messages of FUNCTION RESTORE.
    pub fn join(&mut self, others: Libraries, existing: Existing) -> Result<(), Vec<u8>> {
        let mut joined = self.clone();
        for library in others.iter() {
            if joined.libraries.contains_key(&library.name) {
                if existing == Existing::Refuse {
                    return Err([b"Library ", &library.name[..], b" already exists"].concat());
                }
                joined.remove(&library.name);
            }
        }
        for library in others.iter() {
            joined.add(Arc::clone(library), Existing::Refuse)?;
        }
        *self = joined;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(id: u64, name: &str, functions: &[&str]) -> Arc<Library> {
        let functions = functions
            .iter()
            .map(|name| Function {
                name: name.as_bytes().to_vec(),
                description: None,
                flags: ScriptFlags::default(),
            })
            .collect();
        Arc::new(Library {
            id,
            name: name.into(),
            code: Vec::new(),
            code_start: 0,
            functions,
            roams: AtomicBool::default(),
        })
    }

    #[test]
    fn names_are_taken_once() {
        let mut table = Libraries::default();
        assert_eq!(table.add(library(1, "a", &["f", "G"]), Existing::Refuse), Ok(()));
        assert!(table.function(b"g").is_some() && table.function(b"F").is_some());
        assert_eq!(
            table.add(library(2, "a", &["h"]), Existing::Refuse),
            Err(b"Library 'a' already exists".to_vec())
        );
        assert_eq!(
            table.add(library(3, "b", &["g"]), Existing::Refuse),
            Err(b"Function g already exists".to_vec())
        );
        assert_eq!(table.add(library(4, "a", &["h"]), Existing::Replace), Ok(()));
        assert!(table.function(b"g").is_none());
        assert_eq!((table.len(), table.function_count()), (1, 1));
        assert!(table.remove(b"a") && !table.remove(b"a"));
        assert_eq!(table.function_count(), 0);
    }

    #[test]
    fn joining_is_all_or_nothing() {
        let mut table = Libraries::default();
        table.add(library(1, "a", &["f"]), Existing::Refuse).expect("new");
        let mut others = Libraries::default();
        others.add(library(2, "b", &["g"]), Existing::Refuse).expect("new");
        others.add(library(3, "a", &["h"]), Existing::Refuse).expect("new");
        assert_eq!(table.join(others.clone(), Existing::Refuse), Err(b"Library a already exists".to_vec()));
        assert_eq!(table.len(), 1);
        assert_eq!(table.join(others, Existing::Replace), Ok(()));
        assert_eq!((table.len(), table.function_count()), (2, 2));
        assert!(table.function(b"f").is_none());
    }
}
