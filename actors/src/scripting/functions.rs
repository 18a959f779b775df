//! FCALL, FCALL_RO and FUNCTION.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::keyspace::Keyspace;
use skuld::rdb::Compression;
use skuld::rdb::payload::Footer;
use skuld::resp::Reply;
use skuld::resp::decode::parse_integer;
use skuld::scripting::libraries::{Existing, Libraries, Library};
use skuld::scripting::{dump, shebang};

use super::convert::Counted;
use super::eval::{error, split_words};
use super::libraries::{Loaded, load};
use super::run::{Run, run_function};
use super::vm::{Purpose, Vm};
use crate::executor::Executor;
use crate::server_commands::pubsub::Subscriber;

/// Whether a library's code is given only so much time to register its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Limited,
    /// The library was accepted before: by the primary, or by this server when it wrote the file.
    Unlimited,
}

impl Executor {
    pub(super) fn fcall(
        &mut self,
        keyspace: &mut Keyspace,
        client: Subscriber<'_>,
        reply: &mut Reply,
        command: &'static Command,
        args: &[&[u8]],
        now_us: i64,
    ) -> Result<Counted, CommandError> {
        let libraries = self.server.scripts.libraries();
        let Some((library, index)) = libraries.function(args[1]) else {
            return Err(CommandError::fixed("ERR Function not found"));
        };
        let count = parse_integer(args[2]).ok_or(CommandError::fixed("ERR Bad number of keys provided"))?;
        let words = split_words(args, count)?;
        let flags = library.functions[index].flags;
        let only_reads = command.name == "fcall_ro";
        self.may_run(flags, only_reads)?;
        let mut vm = self.function_machine();
        let reference = match reference_of(&mut vm, library, index) {
            Ok(reference) => reference,
            Err(line) => {
                self.return_function_machine(vm);
                return Err(error(&line));
            }
        };
        let db = client.session.db;
        let session: *mut _ = &mut *client.session;
        // SAFETY: all of them outlive this function, which uses none of them until the function has ended.
        let mut run = unsafe {
            let name = &library.functions[index].name;
            Run::new(self, keyspace, client, Purpose::Functions, now_us, (name, args))
        };
        run.restrict(flags, only_reads);
        let counted = run_function(&mut vm, reference, &mut run, &words, reply);
        // SAFETY: the run is over, so this is the only way to the session.
        unsafe { (*session).db = db };
        if self.scripting.restart {
            library.roams.store(true, Ordering::Relaxed);
        }
        self.return_function_machine(vm);
        Ok(counted)
    }

    /// Takes the machine for functions, which is made if need be.
    fn function_machine(&mut self) -> Box<Vm> {
        let epoch = self.server.scripts.libraries_epoch.load(Ordering::Acquire);
        match self.scripting.functions.take() {
            Some(vm) if vm.epoch == epoch => vm,
            _ => Box::new(Vm::new(Purpose::Functions, self.config.lua_enable_insecure_api, epoch)),
        }
    }

    fn return_function_machine(&mut self, mut vm: Box<Vm>) {
        let server = self.server.clone();
        vm.forget_libraries(&server.scripts.libraries());
        self.scripting.report(&server.scripts, Purpose::Functions, vm.memory());
        self.scripting.functions = Some(vm);
    }

    /// Makes a library of its code, without adding it to the table.
    fn make_library(&mut self, code: &[u8], time: Time) -> Result<Arc<Library>, Vec<u8>> {
        let header = check_header(code)?;
        let mut vm = self.function_machine();
        let result =
            load(&vm, &code[header.code_start..], time == Time::Limited).and_then(|(functions, loaded)| {
                if let Err(line) = Library::check_functions(&functions) {
                    vm.forget(loaded);
                    return Err(line);
                }
                let library = Arc::new(Library {
                    id: self.server.scripts.next_library(),
                    name: header.name,
                    code: code.to_vec(),
                    code_start: header.code_start,
                    functions,
                    roams: Default::default(),
                });
                vm.libraries.insert(library.id, (Arc::downgrade(&library), loaded));
                Ok(library)
            });
        self.scripting.functions = Some(vm);
        result
    }

    /// Adds a library to the server's, as FUNCTION LOAD does; returns its name. For persistence and replication.
    /// The error is a line for the client without its code word.
    pub fn load_library(&mut self, code: &[u8], existing: Existing, time: Time) -> Result<Vec<u8>, Vec<u8>> {
        let header = check_header(code)?;
        if existing == Existing::Refuse && self.server.scripts.libraries().get(&header.name).is_some() {
            return Err([b"Library '", &header.name[..], b"' already exists"].concat());
        }
        let library = self.make_library(code, time)?;
        let name = library.name.clone();
        let result = self.server.scripts.change_libraries(|table| table.add(library, existing));
        let vm = self.function_machine();
        self.return_function_machine(vm);
        result.map(|()| name)
    }

    /// Replaces or extends the server's libraries by those of these codes: all, or none.
    pub fn load_libraries(&mut self, codes: &[Vec<u8>], policy: Policy, time: Time) -> Result<(), Vec<u8>> {
        let mut loaded = Libraries::default();
        for code in codes {
            let header = check_header(code)?;
            if loaded.get(&header.name).is_some() {
                return Err([b"Library '", &header.name[..], b"' already exists"].concat());
            }
            loaded.add(self.make_library(code, time)?, Existing::Refuse)?;
        }
        let result = self.server.scripts.change_libraries(|table| match policy {
            Policy::Flush => {
                *table = loaded;
                Ok(())
            }
            Policy::Append => table.join(loaded, Existing::Refuse),
            Policy::Replace => table.join(loaded, Existing::Replace),
        });
        let vm = self.function_machine();
        self.return_function_machine(vm);
        result
    }

    /// FUNCTION and its subcommands.
    pub(super) fn function(
        &mut self,
        reply: &mut Reply,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Result<(), CommandError> {
        let server = self.server.clone();
        let scripts = &server.scripts;
        match command.short_name() {
            "load" => {
                let (code, options) = args[2..].split_last().expect("the arity demands a code");
                let mut existing = Existing::Refuse;
                for option in options {
                    if !option.eq_ignore_ascii_case(b"replace") {
                        return Err(CommandError::quoting("ERR Unknown option given: ", option, ""));
                    }
                    existing = Existing::Replace;
                }
                let name = self.load_library(code, existing, Time::Limited).map_err(|line| error(&line))?;
                self.effects.dirty += 1;
                reply.bulk(&name);
            }
            "delete" => {
                let removed = scripts.change_libraries(|table| {
                    if table.remove(args[2]) { Ok(()) } else { Err(b"Library not found".to_vec()) }
                });
                removed.map_err(|line| error(&line))?;
                self.effects.dirty += 1;
                reply.ok();
            }
            "flush" => {
                let valid = match args {
                    [_, _] => true,
                    [_, _, mode] => mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async"),
                    _ => return Err(syntax(args)),
                };
                if !valid {
                    return Err(CommandError::fixed("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
                }
                scripts.flush_libraries();
                let vm = self.function_machine();
                self.return_function_machine(vm);
                self.effects.dirty += 1;
                reply.ok();
            }
            "list" => list(&scripts.libraries(), reply, args)?,
            "dump" => {
                let compression = Compression::on_if(self.config.rdbcompression);
                reply.bulk(&dump::dump(&scripts.libraries(), compression));
            }
            "restore" => {
                let policy = match args {
                    [_, _, _] => Policy::Append,
                    [_, _, _, word] if word.eq_ignore_ascii_case(b"append") => Policy::Append,
                    [_, _, _, word] if word.eq_ignore_ascii_case(b"replace") => Policy::Replace,
                    [_, _, _, word] if word.eq_ignore_ascii_case(b"flush") => Policy::Flush,
                    [_, _, _, _] => {
                        return Err(CommandError::fixed(
                            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
                        ));
                    }
                    _ => return Err(syntax(args)),
                };
                let codes =
                    dump::codes(args[2], Footer::of(&self.config)).map_err(|line| error(line.as_bytes()))?;
                self.load_libraries(&codes, policy, Time::Limited).map_err(|line| error(&line))?;
                self.effects.dirty += 1;
                reply.ok();
            }
            "kill" => {
                scripts.kill(Purpose::Functions)?;
                reply.ok();
            }
            _ => {
                scripts.write_running(reply)?;
                stats(&scripts.libraries(), reply);
            }
        }
        Ok(())
    }
}

/// What FUNCTION RESTORE does with the libraries there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Append,
    Replace,
    Flush,
}

fn syntax(args: &[&[u8]]) -> CommandError {
    CommandError::quoting(
        "ERR unknown subcommand or wrong number of arguments for '",
        args[1],
        "'. Try FUNCTION HELP.",
    )
}

fn check_header(code: &[u8]) -> Result<shebang::LibraryHeader, Vec<u8>> {
    let header = shebang::of_library(code)?;
    if !shebang::is_name(&header.name) {
        return Err(
            b"Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                     character long"
                .to_vec(),
        );
    }
    if !header.engine.eq_ignore_ascii_case(b"lua") {
        return Err([b"Engine '", &header.engine[..], b"' not found"].concat());
    }
    Ok(header)
}

/// The function's place in the machine's registry; its library is loaded if this machine has not seen it yet.
fn reference_of(vm: &mut Vm, library: &Arc<Library>, index: usize) -> Result<i32, Vec<u8>> {
    if let Some((_, Loaded { references })) = vm.libraries.get(&library.id) {
        return Ok(references[index]);
    }
    let (functions, loaded) = load(vm, &library.code[library.code_start..], false)?;
    if functions != library.functions {
        vm.forget(loaded);
        return Err(b"The library registers other functions each time".to_vec());
    }
    let reference = loaded.references[index];
    vm.libraries.insert(library.id, (Arc::downgrade(library), loaded));
    Ok(reference)
}

fn list(libraries: &Libraries, reply: &mut Reply, args: &[&[u8]]) -> Result<(), CommandError> {
    let mut with_code = false;
    let mut pattern: Option<&[u8]> = None;
    let mut words = args[2..].iter();
    while let Some(word) = words.next() {
        if !with_code && word.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
            let given = words.next();
            pattern = Some(given.ok_or(CommandError::fixed("ERR library name argument was not given"))?);
        } else {
            return Err(CommandError::quoting("ERR Unknown argument ", word, ""));
        }
    }
    let shown: Vec<_> = libraries
        .iter()
        .filter(|library| {
            pattern.is_none_or(|pattern| skuld::glob::matches_ignore_case(pattern, &library.name))
        })
        .collect();
    reply.array(shown.len());
    for library in shown {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(&library.name);
        reply.bulk(b"engine");
        reply.bulk(b"LUA");
        reply.bulk(b"functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&function.name);
            reply.bulk(b"description");
            match &function.description {
                Some(text) => reply.bulk(super::lua::up_to_nul(text)),
                None => reply.null(),
            }
            reply.bulk(b"flags");
            let flags = function.flags.names();
            reply.set(flags.len());
            flags.for_each(|name| reply.simple(name));
        }
        if with_code {
            reply.bulk(b"library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

fn stats(libraries: &Libraries, reply: &mut Reply) {
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries.len() as i64);
    reply.bulk(b"functions_count");
    reply.integer(libraries.function_count() as i64);
}
