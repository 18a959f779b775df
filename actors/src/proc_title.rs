//! The process title: what `ps` shows, written over the memory where the kernel put the arguments.

use std::ffi::{CString, c_char};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use skuld::config::Config;
use skuld::config::checks::expand_title;

/// Begin and length of the memory that holds the title; 0 until it is known.
static AREA: AtomicUsize = AtomicUsize::new(0);
static AREA_LEN: AtomicUsize = AtomicUsize::new(0);
/// The program's name as it was called.
static NAME: Mutex<String> = Mutex::new(String::new());

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Finds the memory of the arguments and makes the environment behind it free to be overwritten too. Call once, at
/// the very start, before other threads exist and after the arguments were read: reading them later shows the title.
pub fn prepare(program: &str) {
    NAME.lock().unwrap_or_else(PoisonError::into_inner).push_str(program);
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The second field, the name in parentheses, may hold blanks.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let field = |number: usize| rest.split_whitespace().nth(number - 3).and_then(|f| f.parse::<usize>().ok());
    let (Some(arguments), Some(arguments_end)) = (field(48), field(49)) else { return };
    let (Some(variables), Some(variables_end)) = (field(50), field(51)) else { return };
    if arguments == 0 || arguments_end <= arguments {
        return;
    }
    let mut end = arguments_end;
    if variables == arguments_end && variables_end > variables {
        move_environment();
        end = variables_end;
    }
    AREA.store(arguments, Ordering::Relaxed);
    AREA_LEN.store(end - arguments, Ordering::Relaxed);
}

/// Copies every variable elsewhere, for good.
fn move_environment() {
    // SAFETY: no other thread exists yet. `environ` is a list of C strings that ends with a null pointer; each is
    // replaced by a copy that is never freed.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let copy = libc::strdup(*at);
            if !copy.is_null() {
                *at = copy;
            }
            at = at.add(1);
        }
    }
}

/// Shows the title that the configuration describes.
pub fn apply(config: &Config) {
    if !config.set_proc_title {
        return;
    }
    let name = NAME.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let port = if config.port == 0 { config.tls_port } else { config.port };
    let variable = |variable: &str| {
        Some(match variable {
            "title" => name.clone(),
            "listen-addr" if port != 0 => {
                let host = config.bind.first().map_or_else(|| "*".to_owned(), |a| a.to_str().into_owned());
                format!("{host}:{port}")
            }
            "listen-addr" | "unixsocket" => config.unixsocket.to_str().into_owned(),
            "server-mode" if config.cluster_enabled => "[cluster]".to_owned(),
            "server-mode" => String::new(),
            "port" => config.port.to_string(),
            "tls-port" => config.tls_port.to_string(),
            "config-file" => CONFIG_FILE.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => return None,
        })
    };
    let Some(title) = expand_title(&config.proc_title_template.to_str(), variable) else { return };
    show(title.trim_end());
}

/// The configuration file, for `{config-file}`.
static CONFIG_FILE: Mutex<String> = Mutex::new(String::new());

/// Sets what `{config-file}` stands for.
pub fn set_config_file(path: &str) {
    *CONFIG_FILE.lock().unwrap_or_else(PoisonError::into_inner) = path.to_owned();
}

fn show(title: &str) {
    let (area, len) = (AREA.load(Ordering::Relaxed), AREA_LEN.load(Ordering::Relaxed));
    if area == 0 || len == 0 {
        return;
    }
    let Ok(title) = CString::new(title) else { return };
    let bytes = title.as_bytes();
    let kept = bytes.len().min(len - 1);
    // SAFETY: `prepare` found that these bytes are the process's own argument (and moved environment) strings, which
    // stay mapped and writable, and which nothing reads any more.
    unsafe {
        std::ptr::write_bytes(area as *mut u8, 0, len);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), area as *mut u8, kept);
    }
}
