//! The debugger of scripts (SCRIPT DEBUG): the script stops at lines, tells its client where it is, and does what the
//! client asks for until it is told to go on.
//!
//! ```text
//!  client --bytes--> Connection --Conversation--> script, stopped at a line
//!    ^                                              |
//!    +------------- Connection <------Waits---------+
//! ```
//!
//! A script that is stopped looks for requests again and again, and hands its thread back in between. It holds all keys,
//! so nobody changes data meanwhile.

pub mod apart;
pub mod conversation;
mod values;

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skuld::scripting::debugger::put_reply;

use self::conversation::{Conversation, Said};
use self::values::text_of_top;
use super::api::push_error;
use super::call;
use super::lua::*;
use super::run::{Run, hand_back, take_turns, watch_instructions};
use crate::clients::ClientShared;
use crate::connection::Waits;
use crate::envelope::tell;

/// How long a stopped script sleeps between two looks for a request: nobody else is to be served much faster.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Lines that are run between two looks at the clock.
const LINES_PER_LOOK: u32 = 1000;
const BREAKPOINTS_MAX: usize = 64;
/// What is shown of a value, bytes, unless the client asks for another number, and the least it may ask for.
const SHOWN_BYTES: usize = 256;
const SHOWN_BYTES_MIN: usize = 60;
/// Lines before and after the one that is asked for.
const LINES_AROUND: i64 = 5;

const UNKNOWN: &[u8] = b"<error> Unknown debugger command or wrong number of arguments.";

const HELP: &[&str] = &[
    "LUA debugger help:",
    "[h]elp               Show this help.",
    "[max]len [len]       Trim logged replies to len. Specifying zero as",
    "                     <len> means unlimited. If no <len> is specified,",
    "                     the current value is shown. Usage: maxlen [len]",
    "[s]tep               Run current line and stop again.",
    "[n]ext               Alias for step.",
    "[c]ontinue           Run till next breakpoint.",
    "[l]ist [line] [ctx]  List source code around a specific line. If no",
    "                     line is specified the list is printed around the",
    "                     current line. [ctx] specifies how many lines to",
    "                     show before/after [line].",
    "[w]hole              List all source code. Alias for 'list 1 1000000'.",
    "[p]rint [var]        Show the value of the specified variable [var].",
    "                     Can also show global vars KEYS and ARGV. If no",
    "                     [var] is specidied, shows the value of all local",
    "                     variables.",
    "[b]reak [line|-line] Add/Remove a breakpoint to the specified line.",
    "                     If no [line] is specified, it shows all",
    "                     breakpoints. When line = 0, it removes all",
    "                     breakpoints.",
    "[t]race              Show a backtrace.",
    "[e]val <code>        Execute some Lua code (in a different callframe).",
    "[v]alkey <cmd>       Execute a command.",
    "[a]bort              Stop the execution of the script. In sync mode",
    "                     dataset changes will be retained.",
];

/// A session.
pub struct Debugger {
    client: Arc<ClientShared>,
    conversation: Arc<Conversation>,
    /// The script's text.
    lines: Vec<Vec<u8>>,
    breakpoints: Vec<i64>,
    /// What the client will be told when the script stops.
    told: Vec<Vec<u8>>,
    /// It stops at every line.
    steps: bool,
    /// The script itself asked to stop.
    asked: bool,
    /// Where it is.
    line: i64,
    shown_bytes: usize,
    /// The client knows that replies are cut.
    hinted: bool,
}

/// What a request asks for beside its answer.
enum Next {
    Stay,
    Go,
    Abort,
}

impl Debugger {
    /// Begins a session.
    pub fn begin(client: &Arc<ClientShared>, text: &[u8]) -> Box<Self> {
        tracing::info!("Valkey synchronous debugging eval session started");
        let conversation = Arc::clone(client.debugger.get_or_init(Arc::default));
        conversation.begin();
        Box::new(Self {
            client: client.clone(),
            conversation,
            lines: text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
            breakpoints: Vec::new(),
            told: Vec::new(),
            steps: true,
            asked: false,
            line: 0,
            shown_bytes: SHOWN_BYTES,
            hinted: false,
        })
    }

    /// Ends the session: the script's reply follows.
    pub fn end(mut self) {
        self.tell(b"<endsession>");
        self.send();
        self.conversation.end();
        tracing::info!("Valkey synchronous debugging eval session ended");
    }

    pub fn tell(&mut self, line: &[u8]) {
        self.told.push(line.to_vec());
    }

    /// Tells a value, or a reply, which may be too long.
    fn tell_cut(&mut self, head: &[u8], text: &[u8]) -> bool {
        let mut line = [head, text].concat();
        let cut = self.shown_bytes != 0 && line.len() > self.shown_bytes;
        if cut {
            line.truncate(self.shown_bytes);
            line.extend(b" ...");
        }
        self.told.push(line);
        cut
    }

    /// Sends what is to be told, as an array of lines.
    fn send(&mut self) {
        let mut bytes = format!("*{}\r\n", self.told.len()).into_bytes();
        for mut line in self.told.drain(..) {
            line.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
            bytes.push(b'+');
            bytes.append(&mut line);
            bytes.extend(b"\r\n");
        }
        tell(&self.client.connection, Waits { replies: vec![bytes], appended: 0 });
    }

    /// Whether commands that the script calls are told.
    pub fn tells_calls(&self) -> bool {
        self.steps
    }

    /// Tells of a command that was called.
    pub fn tell_call(&mut self, words: &[&[u8]], reply: &[u8], problem: Option<Vec<u8>>) {
        let words: Vec<&[u8]> = words.iter().map(|word| up_to_nul(word)).collect();
        self.told.push([b"<command> ", words.join(b" ".as_slice()).as_slice()].concat());
        let mut text = Vec::new();
        put_reply(&mut text, reply);
        if self.tell_cut(b"<reply> ", &text) && !self.hinted {
            self.hinted = true;
            self.tell(b"<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.");
        }
        if let Some(problem) = problem {
            self.told.push([b"<error> ", problem.as_slice()].concat());
        }
    }

    /// `redis.debug`: the arguments, which lie on the stack.
    pub fn tell_values(&mut self, lua: Lua) {
        let mut line = format!("<debug> line {}: ", self.line).into_bytes();
        for index in 1..=lua.top() {
            if index > 1 {
                line.extend(b", ");
            }
            lua.push_copy(index);
            line.extend(text_of_top(lua));
            lua.pop(1);
        }
        self.told.push(line);
    }

    /// `redis.breakpoint`
    pub fn stop_at_next_line(&mut self) {
        self.asked = true;
    }

    /// The script is at a line.
    fn at_line(&mut self, lua: Lua) -> Turn {
        let Some(frame) = lua.frame(0).filter(|frame| frame.line > 0) else { return Turn::On };
        self.line = frame.line.into();
        let is_breakpoint = self.asked || self.breakpoints.contains(&self.line);
        if !is_breakpoint && !self.steps {
            return Turn::On;
        }
        let reason = match (self.asked, is_breakpoint) {
            (true, _) => "server.breakpoint() called",
            (_, true) => "break point",
            _ => "step over",
        };
        self.told.push(format!("* Stopped at {}, stop reason = {reason}", self.line).into_bytes());
        self.tell_line(self.line);
        self.send();
        (self.asked, self.steps) = (false, false);
        loop {
            let request = match self.conversation.next() {
                Said::Request(request) => request,
                Said::Nonsense => return Turn::Fail(b"protocol error"),
                // Then the script runs to its end.
                Said::Nothing if self.client.hung_up.load(Ordering::Acquire) => return Turn::Leave,
                Said::Nothing => {
                    std::thread::sleep(LOOK_EVERY);
                    if !hand_back() {
                        return Turn::Leave;
                    }
                    continue;
                }
            };
            match self.obey(lua, &request) {
                Next::Go => return Turn::On,
                Next::Abort => return Turn::Fail(b"script aborted for user request"),
                Next::Stay => self.send(),
            }
        }
    }

    fn obey(&mut self, lua: Lua, request: &[Vec<u8>]) -> Next {
        let word = request[0].to_ascii_lowercase();
        let number = |index: usize| request.get(index).map(|word| leading_integer(word));
        match (word.as_slice(), request.len()) {
            (b"h" | b"help", 1) => HELP.iter().for_each(|line| self.tell(line.as_bytes())),
            (b"s" | b"step" | b"n" | b"next", 1) => {
                self.steps = true;
                return Next::Go;
            }
            (b"c" | b"continue", 1) => return Next::Go,
            (b"a" | b"abort", 1) => return Next::Abort,
            (b"t" | b"trace", 1) => self.trace(lua),
            (b"w" | b"whole", 1) => self.list(1, i64::from(i32::MAX)),
            (b"l" | b"list", 1..=3) => {
                let around = number(1).filter(|line| *line > 0).unwrap_or(self.line);
                self.list(around, number(2).unwrap_or(LINES_AROUND));
            }
            (b"p" | b"print", 1) => self.print_all(lua),
            (b"p" | b"print", 2) => self.print(lua, &request[1]),
            (b"b" | b"break", 1) => self.show_breakpoints(),
            (b"b" | b"break", 2) => self.change_breakpoint(&request[1]),
            (b"max" | b"maxlen", 1) => {
                self.told.push(format!("Current maxlen is {}", self.shown_bytes).into_bytes());
            }
            (b"max" | b"maxlen", 2) => self.change_shown_bytes(&request[1]),
            (b"e" | b"eval", 2..) => self.evaluate(lua, &request[1..].join(b" ".as_slice())),
            (b"v" | b"valkey" | b"r" | b"redis" | b"server", 2..) => {
                let words: Vec<&[u8]> = request[1..].iter().map(Vec::as_slice).collect();
                let (reply, problem) = Run::with(|run| call::for_debugger(run, &words));
                self.tell_call(&words, &reply, problem);
            }
            _ => self.tell(UNKNOWN),
        }
        Next::Stay
    }

    /// Tells a line of the script, and whether it is the current one or has a breakpoint.
    fn tell_line(&mut self, number: i64) {
        let text = usize::try_from(number - 1).ok().and_then(|index| self.lines.get(index));
        let text = text.map_or(b"<out of range source code line>".as_slice(), Vec::as_slice);
        let arrow = if number == self.line { "->" } else { "  " };
        let mark = if self.breakpoints.contains(&number) { '#' } else { ' ' };
        let head = format!("{arrow}{mark}{number:<3} ");
        self.told.push([head.as_bytes(), text].concat());
    }

    fn list(&mut self, around: i64, before_and_after: i64) {
        let count = self.lines.len() as i64;
        for number in 1..=count {
            if (number - around).abs() <= before_and_after {
                self.tell_line(number);
            }
        }
    }

    fn show_breakpoints(&mut self) {
        if self.breakpoints.is_empty() {
            return self.tell(b"No breakpoints set. Use 'b <line>' to add one.");
        }
        self.told.push(format!("{} breakpoints set:", self.breakpoints.len()).into_bytes());
        for line in self.breakpoints.clone() {
            self.tell_line(line);
        }
    }

    fn change_breakpoint(&mut self, word: &[u8]) {
        let Some(line) = skuld::types::number::parse_i64(word) else {
            return self.told.push([b"Invalid argument:'", up_to_nul(word), b"'"].concat());
        };
        if line == 0 {
            self.breakpoints.clear();
            self.tell(b"All breakpoints removed.");
        } else if line < 0 {
            let before = self.breakpoints.len();
            self.breakpoints.retain(|other| Some(*other) != line.checked_neg());
            let removed = self.breakpoints.len() < before;
            self.tell(if removed { b"Breakpoint removed." } else { b"No breakpoint in the specified line." });
        } else if self.breakpoints.len() == BREAKPOINTS_MAX {
            self.tell(b"Too many breakpoints set.");
        } else if line > self.lines.len() as i64 || self.breakpoints.contains(&line) {
            self.tell(b"Wrong line number.");
        } else {
            self.breakpoints.push(line);
            self.list(line, 1);
        }
    }

    fn change_shown_bytes(&mut self, word: &[u8]) {
        let number = skuld::types::number::parse_i64(word).and_then(|number| usize::try_from(number).ok());
        let Some(number) = number else { return self.tell(b"<error> Invalid maxlen value.") };
        if number == 0 {
            self.shown_bytes = 0;
            return self.tell(b"<value> replies are not truncated.");
        }
        self.shown_bytes = number.max(SHOWN_BYTES_MIN);
        let line = format!("<value> replies are truncated at {} bytes.", self.shown_bytes);
        self.told.push(line.into_bytes());
    }

    fn trace(&mut self, lua: Lua) {
        let mut level = 0;
        while let Some(frame) = lua.frame(level) {
            if frame.line > 0 {
                let whence = if level == 0 { "In" } else { "From" };
                let name = frame.name.as_deref().unwrap_or(b"top level");
                self.told.push([whence.as_bytes(), b" ", name, b":"].concat());
                self.tell_line(frame.line.into());
            }
            level += 1;
        }
    }

    /// Tells the value on the top of the stack, which is taken away.
    fn tell_top(&mut self, lua: Lua, head: &[u8]) {
        let text = text_of_top(lua);
        lua.pop(1);
        self.tell_cut(head, &text);
    }

    /// The first variable of that name, from the innermost call outwards, or KEYS or ARGV.
    fn print(&mut self, lua: Lua, name: &[u8]) {
        lua.room(8);
        let mut level = 0;
        while lua.frame(level).is_some() {
            let mut number = 1;
            while let Some(other) = lua.push_local(level, number) {
                if other == name {
                    return self.tell_top(lua, b"<value> ");
                }
                lua.pop(1);
                number += 1;
            }
            level += 1;
        }
        if name != b"KEYS" && name != b"ARGV" {
            return self.tell(b"No such variable.");
        }
        lua.raw_field(GLOBALS, name);
        self.tell_top(lua, b"<value> ");
    }

    fn print_all(&mut self, lua: Lua) {
        lua.room(8);
        let (mut number, mut none) = (1, true);
        while let Some(name) = lua.push_local(0, number) {
            number += 1;
            if name.starts_with(b"(*temporary)") {
                lua.pop(1);
            } else {
                none = false;
                self.tell_top(lua, &[b"<value> ", name.as_slice(), b" = "].concat());
            }
        }
        if none {
            self.tell(b"No local variables in the current context.");
        }
    }

    /// Runs code that is an expression or else some statements.
    fn evaluate(&mut self, lua: Lua, code: &[u8]) {
        const NAME: &std::ffi::CStr = c"@ldb_eval";
        lua.room(8);
        let code = up_to_nul(code);
        if !lua.load(&[b"return ", code].concat(), NAME) {
            lua.pop(1);
            if !lua.load(code, NAME) {
                let message = lua.c_bytes(-1).unwrap_or_default().to_vec();
                lua.pop(1);
                return self.told.push([b"Error compiling code: ", message.as_slice()].concat());
            }
        }
        if lua.call(0, 1, 0) {
            return self.tell_top(lua, b"<retval> ");
        }
        let message = if lua.is_string(-1) { lua.c_bytes(-1).unwrap_or_default() } else { b"(null)" };
        self.told.push([b"<error> ", message].concat());
        lua.pop(1);
    }
}

/// What a script does after a line was looked at.
enum Turn {
    On,
    /// There is nobody to talk to any more.
    Leave,
    Fail(&'static [u8]),
}

/// Called at every line of a script that is debugged.
pub unsafe extern "C" fn at_line(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    // What is evaluated meanwhile is not debugged itself.
    if let Some(mut debugger) = Run::with(|run| run.debugger.take()) {
        match debugger.at_line(lua) {
            Turn::On => {}
            Turn::Leave => {
                debugger.conversation.end();
                tracing::info!("Valkey synchronous debugging eval session ended");
                watch_instructions(lua);
                return 0;
            }
            Turn::Fail(reason) => {
                Run::with(|run| run.debugger = Some(debugger));
                push_error(lua, reason);
                return RAISE;
            }
        }
        Run::with(|run| run.debugger = Some(debugger));
    }
    if Run::with(|run| run.counts_line(LINES_PER_LOOK)) { take_turns(lua) } else { 0 }
}

/// The integer that a word begins with, as C reads it: 0 if there is none.
fn leading_integer(word: &[u8]) -> i64 {
    let digits = word.iter().skip(usize::from(word.first() == Some(&b'-')));
    let end =
        digits.take_while(|byte| byte.is_ascii_digit()).count() + usize::from(word.first() == Some(&b'-'));
    skuld::types::number::parse_i64(&word[..end]).unwrap_or(0)
}
