//! `--check-rdb` and `--check-aof`: what is in a file, whether it is sound, and cutting off what is not. Also what the
//! binary does when it is called by the names of Valkey's tools. Output lines are those that scripts look for.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use skuld::aof::manifest::Manifest;
use skuld::config::RdbVersionCheck;
use skuld::keyspace::Value;
use skuld::rdb::file::{FileError, FileItem, FileReader};
use skuld::rdb::{DecodeError, Limits};

use crate::clock;
use crate::configure::os_text;

/// Prints what is in an RDB file; returns the exit status.
pub fn rdb(program: &str, arguments: &[String]) -> i32 {
    let Some(path) = arguments.first() else {
        eprintln!("Usage: {program} <rdb-file-name>");
        return 1;
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) => {
            println!("Cannot open file {path}: {}", os_text(&e));
            return 1;
        }
    };
    println!("[offset 0] Checking RDB file {path}");
    match check_rdb(file) {
        Ok(_) => 0,
        Err(()) => 1,
    }
}

#[derive(Default)]
struct Counts {
    keys: u64,
    deadlines: u64,
    expired: u64,
    functions: u64,
}

impl Counts {
    fn print(&self) {
        println!("[info] {} keys read", self.keys);
        println!("[info] {} expires", self.deadlines);
        println!("[info] {} already expired", self.expired);
        println!("[info] {} functions", self.functions);
    }
}

/// Reads to the end of the RDB part; returns its length.
fn check_rdb(mut file: impl Read) -> Result<u64, ()> {
    let mut reader = FileReader::new(RdbVersionCheck::Relaxed, true, Limits::default());
    let mut counts = Counts::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut doing = "start";
    let mut last_key: Option<Vec<u8>> = None;
    let now = clock::unix_ms();
    let mut complete = false;
    loop {
        let item = match reader.next_item() {
            Ok(Some(item)) => item,
            Ok(None) if complete => {
                // The reader answers otherwise once it knows that nothing follows.
                return Err(());
            }
            Ok(None) => match file.read(&mut buffer) {
                Ok(0) => {
                    reader.complete();
                    complete = true;
                    match reader.next_item() {
                        Ok(Some(item)) => item,
                        Ok(None) => return Err(()),
                        Err(error) => {
                            damaged(&error, &reader, doing, last_key, &counts);
                            return Err(());
                        }
                    }
                }
                Ok(n) => {
                    reader.push(&buffer[..n]);
                    continue;
                }
                Err(e) => {
                    println!("[offset {}] {}", reader.offset(), os_text(&e));
                    return Err(());
                }
            },
            Err(error) => {
                damaged(&error, &reader, doing, last_key, &counts);
                return Err(());
            }
        };
        let offset = reader.offset();
        match item {
            FileItem::Aux { name, value } => {
                doing = "read-aux";
                println!(
                    "[offset {offset}] AUX FIELD {} = '{}'",
                    String::from_utf8_lossy(&name),
                    String::from_utf8_lossy(&value)
                );
            }
            FileItem::Function(_) => {
                doing = "read-function";
                counts.functions += 1;
            }
            FileItem::SlotImport { .. } => {
                doing = "read-slot-import";
                println!("[offset {offset}] Slot import");
            }
            FileItem::Database(number) => {
                doing = "read-type";
                println!("[offset {offset}] Selecting DB ID {number}");
            }
            FileItem::Sizes { .. } => doing = "read-type",
            FileItem::Key(key) => {
                doing = "read-type";
                counts.keys += 1;
                counts.deadlines += u64::from(key.deadline.is_some());
                counts.expired += u64::from(key.deadline.is_some_and(|deadline| deadline < now));
                debug_assert!(!matches!(&key.value, Value::Hash(hash) if hash.is_empty()));
                last_key = Some(key.key);
            }
            FileItem::Skipped(_) => doing = "read-type",
            FileItem::End => {
                println!("[offset {offset}] Checksum OK");
                println!("[offset {offset}] Check RDB returned error code 0 (0 means success)");
                println!("[offset {offset}] \\o/ RDB looks OK! \\o/");
                counts.print();
                return Ok(offset);
            }
        }
    }
}

fn damaged(error: &FileError, reader: &FileReader, doing: &str, key: Option<Vec<u8>>, counts: &Counts) {
    let offset = reader.offset();
    println!("--- RDB ERROR DETECTED ---");
    let text = match error {
        FileError::Value(DecodeError::Truncated) => "Unexpected EOF reading RDB file".to_owned(),
        FileError::Checksum { .. } => format!("RDB CRC error ({error})"),
        other => other.to_string(),
    };
    println!("[offset {offset}] {text}");
    println!("[additional info] While doing: {doing}");
    if let Some(key) = key {
        println!("[additional info] Behind key '{}'", String::from_utf8_lossy(&key));
    }
    counts.print();
    println!("[offset {offset}] Check RDB returned error code 1 (0 means success)");
}

/// What to do with a file beside looking at it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repair {
    Nothing,
    Fix,
    /// Cut off what is younger than this, Unix seconds.
    CutAfter(i64),
}

/// Checks an append-only file or all parts a manifest names; returns the exit status.
pub fn aof(program: &str, arguments: &[String]) -> i32 {
    let usage = || {
        println!("Usage: {program} [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>");
        1
    };
    let (repair, path) = match arguments {
        [path] => (Repair::Nothing, path),
        [flag, path] if flag == "--fix" => (Repair::Fix, path),
        [flag, time, path] if flag == "--truncate-to-timestamp" => match time.parse::<i64>() {
            Ok(time) if time > 0 => (Repair::CutAfter(time), path),
            _ => {
                println!("Invalid timestamp, aborting...");
                return 1;
            }
        },
        _ => return usage(),
    };
    let mut lines = 1;
    let outcome = match read_manifest(path) {
        Err(()) => Err(()),
        Ok(Some(manifest)) => check_parts(Path::new(path), &manifest, repair, &mut lines),
        Ok(None) => {
            println!("Start checking Old-Style AOF");
            let name = base_name(path);
            check_part(Path::new(path), &name, repair, true, &mut lines).map(|valid| {
                if valid {
                    println!("AOF {name} is valid");
                }
            })
        }
    };
    i32::from(outcome.is_err())
}

fn base_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned())
}

/// The manifest, if the file is one.
fn read_manifest(path: &str) -> Result<Option<Manifest>, ()> {
    let mut file = File::open(path).map_err(|e| {
        println!("Cannot open file {path}: {}, aborting...", os_text(&e));
    })?;
    let mut head = [0; 5];
    if file.read_exact(&mut head).is_err() || (&head != b"file " && head[0] != b'#') {
        return Ok(None);
    }
    let text =
        std::fs::read(path).map_err(|e| println!("Cannot open file {path}: {}, aborting...", os_text(&e)))?;
    match Manifest::parse(&text) {
        Ok(manifest) => Ok(Some(manifest)),
        // An annotation may begin a file of commands, too.
        Err(_) if head[0] == b'#' => Ok(None),
        Err(error) => {
            println!("*** FATAL AOF MANIFEST FILE ERROR ***");
            println!("Reading the manifest file, at line {}", error.line);
            println!(">>> '{}'", error.text);
            println!("{}", error.reason);
            Err(())
        }
    }
}

fn check_parts(path: &Path, manifest: &Manifest, repair: Repair, lines: &mut u64) -> Result<(), ()> {
    println!("Start checking Multi Part AOF");
    let file_of = |name: &str| path.with_file_name(name);
    let count = manifest.to_load().count();
    let mut number = 0;
    if let Some(base) = &manifest.base {
        number += 1;
        let file = file_of(&base.name);
        let format = if starts_as_rdb(&file) { "RDB" } else { "RESP" };
        println!("Start to check BASE AOF ({format} format).");
        if check_part(&file, &base.name, repair, number == count, lines)? {
            println!("BASE AOF {} is valid", base.name);
        }
    }
    if !manifest.incremental.is_empty() {
        println!("Start to check INCR files.");
        for part in &manifest.incremental {
            number += 1;
            if check_part(&file_of(&part.name), &part.name, repair, number == count, lines)? {
                println!("INCR AOF {} is valid", part.name);
            }
        }
    }
    println!("All AOF files and manifest are valid");
    Ok(())
}

fn starts_as_rdb(path: &Path) -> bool {
    let mut magic = [0; 6];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && (magic.starts_with(b"REDIS") || &magic == b"VALKEY")
}

/// Checks one file, and cuts it if that is asked for. True if there was nothing to be cut.
fn check_part(path: &Path, name: &str, repair: Repair, is_last: bool, lines: &mut u64) -> Result<bool, ()> {
    let open =
        || File::open(path).map_err(|e| println!("Cannot open file {name}: {}, aborting...", os_text(&e)));
    let mut file = open()?;
    let size = file.metadata().map_or(0, |m| m.len());
    if size == 0 {
        println!("Empty file: {name}");
        return Ok(true);
    }
    let mut offset = 0;
    if starts_as_rdb(path) {
        println!("[offset 0] Checking RDB file {name}");
        offset =
            check_rdb(&mut file).map_err(|()| println!("RDB preamble of AOF file is not sane, aborting."))?;
        if offset >= size {
            return Ok(true);
        }
        println!("RDB preamble is OK, proceeding with AOF tail...");
        file.seek(SeekFrom::Start(offset)).map_err(|e| println!("{}", os_text(&e)))?;
    }
    let cut_after = if let Repair::CutAfter(time) = repair { Some(time) } else { None };
    let mut scan = Scan { reader: BufReader::with_capacity(1 << 20, file), at: offset, lines, problem: None };
    let (valid, young) = scan.run(cut_after);
    let problem = scan.problem.take();
    let at_line = *lines;
    if let Some(time) = cut_after {
        return cut_to_time(path, name, time, young, is_last).map(|()| false);
    }
    if let Some(problem) = &problem {
        println!("{problem}");
    }
    println!(
        "AOF analyzed: filename={name}, size={size}, ok_up_to={valid}, ok_up_to_line={at_line}, diff={}",
        size - valid
    );
    if size == valid {
        return Ok(true);
    }
    if repair != Repair::Fix {
        println!("AOF {name} is not valid. Use the --fix option to try fixing it.");
        return Err(());
    }
    if !is_last {
        println!("Failed to truncate AOF {name} because it is not the last file");
        return Err(());
    }
    println!(
        "This will shrink the AOF {name} from {size} bytes, with {} bytes, to {valid} bytes",
        size - valid
    );
    print!("Continue? [y/N]: ");
    let _ = io::stdout().flush();
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer).is_err()
        || !answer.trim_start().to_ascii_lowercase().starts_with('y')
    {
        println!("Aborting...");
        return Err(());
    }
    truncate(path, valid).map_err(|e| println!("Failed to truncate AOF {name}: {}", os_text(&e)))?;
    println!("Successfully truncated AOF {name}");
    Ok(false)
}

fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn cut_to_time(path: &Path, name: &str, time: i64, young: Option<u64>, is_last: bool) -> Result<(), ()> {
    match young {
        None => println!("Truncate nothing in AOF {name} to timestamp {time}"),
        Some(0) => {
            println!("AOF {name} has nothing before timestamp {time}, aborting...");
            return Err(());
        }
        Some(offset) if !is_last => {
            println!(
                "Failed to truncate AOF {name} to timestamp {time} to offset {offset} because it is not the last file."
            );
            println!(
                "If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run valkey-check-aof."
            );
            return Err(());
        }
        Some(offset) => {
            truncate(path, offset)
                .map_err(|_| println!("Failed to truncate AOF {name} to timestamp {time}"))?;
            println!("Successfully truncated AOF {name} to timestamp {time}");
        }
    }
    Ok(())
}

/// Goes through the commands of a file without holding more than a line of it.
struct Scan<'a, R> {
    reader: BufReader<R>,
    at: u64,
    /// Lines so far, over all files.
    lines: &'a mut u64,
    problem: Option<String>,
}

impl<R: Read> Scan<'_, R> {
    /// Up to where the file is sound, and where the first annotation is that is younger than the time asked for.
    fn run(&mut self, cut_after: Option<i64>) -> (u64, Option<u64>) {
        let mut valid = self.at;
        let mut in_transaction = false;
        loop {
            let start = self.at;
            let Some(first) = self.peek() else { break };
            if first == b'#' {
                let Some(line) = self.line() else { break };
                if !in_transaction {
                    valid = self.at;
                }
                let time = skuld::aof::scan::timestamp(&line);
                if cut_after.zip(time).is_some_and(|(limit, time)| time > limit) {
                    return (valid, Some(start));
                }
                continue;
            }
            let Some(name) = self.command() else { break };
            match name.as_str() {
                "multi" if in_transaction => {
                    self.problem = Some(format!("Unexpected MULTI in AOF at 0x{start:16x}"));
                    break;
                }
                "multi" => in_transaction = true,
                "exec" if !in_transaction => {
                    self.problem = Some(format!("Unexpected EXEC in AOF at 0x{start:16x}"));
                    break;
                }
                "exec" => in_transaction = false,
                _ => {}
            }
            if !in_transaction {
                valid = self.at;
            }
        }
        if in_transaction && self.problem.is_none() {
            self.problem = Some("Reached EOF before reading EXEC for MULTI".into());
        }
        (valid, None)
    }

    fn peek(&mut self) -> Option<u8> {
        self.reader.fill_buf().ok()?.first().copied()
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let n = self.reader.by_ref().take(64 * 1024).read_until(b'\n', &mut line).ok()?;
        self.at += n as u64;
        if line.last() != Some(&b'\n') {
            return None;
        }
        *self.lines += 1;
        Some(line)
    }

    fn number(&mut self, prefix: u8) -> Option<u64> {
        let at = self.at;
        let found = self.peek()?;
        if found != prefix {
            self.problem = Some(format!(
                "0x{at:16x}: Expected prefix '{}', got: '{}'",
                char::from(prefix),
                char::from(found)
            ));
            return None;
        }
        let line = self.line()?;
        let number = std::str::from_utf8(line.get(1..line.len() - 1)?).ok()?.trim_end().parse();
        if number.is_err() {
            self.problem = Some(format!("0x{at:16x}: a length that is no number"));
        }
        number.ok()
    }

    /// A command; its name in lower case.
    fn command(&mut self) -> Option<String> {
        let words = self.number(b'*')?;
        let mut name = String::new();
        for word in 0..words {
            let length = self.number(b'$')?;
            if word == 0 && length < 64 {
                let mut text = vec![0; length as usize];
                self.reader.read_exact(&mut text).ok()?;
                name = String::from_utf8_lossy(&text).to_ascii_lowercase();
            } else {
                let skipped = io::copy(&mut self.reader.by_ref().take(length), &mut io::sink()).ok()?;
                if skipped < length {
                    self.problem = Some(format!(
                        "0x{:16x}: Expected to read {length} bytes, got {skipped} bytes",
                        self.at
                    ));
                    return None;
                }
            }
            let mut end = [0; 2];
            let ended = self.reader.read_exact(&mut end).is_ok();
            if !ended || &end != b"\r\n" {
                self.problem = Some(format!(
                    "0x{:16x}: Expected \\r\\n, got: {:02x}{:02x}",
                    self.at + length,
                    end[0],
                    end[1]
                ));
                return None;
            }
            self.at += length + 2;
            *self.lines += 1;
        }
        Some(name)
    }
}
