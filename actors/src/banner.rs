//! What is said at start: the banner with the process id that scripts read.

use skuld::config::Config;
use skuld::version::VERSION;

/// Three threads from one spindle, each line beside one fact.
const ART: [&str; 9] = [
    r"        .            ",
    r"       /|\           ",
    r"      / | \          ",
    r"  ~~~(  |  )~~~      ",
    r"   ~~~\ | /~~~       ",
    r"    ~~~\|/~~~        ",
    r"        |            ",
    r"        |            ",
    r"        '            ",
];

/// The banner's text.
pub fn text(config: &Config) -> String {
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    let port = if config.port == 0 { config.tls_port } else { config.port };
    let facts = [
        String::new(),
        format!("Skuld {} (compatible with Valkey {VERSION}) 64 bit", env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("Running in {mode} mode"),
        format!("Port: {port}"),
        format!(" PID: {}", std::process::id()),
    ];
    let mut out = String::new();
    for (at, line) in ART.iter().enumerate() {
        out += line;
        out += facts.get(at).map_or("", String::as_str);
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out + "\n"
}

/// Shows the banner where Valkey would: if told to, or when a person watches; else one line.
pub fn show(config: &Config) {
    use std::io::IsTerminal;
    let watched = !config.syslog_enabled && config.logfile.is_empty() && std::io::stdout().is_terminal();
    if config.always_show_logo || watched {
        crate::log::raw(&text(config));
    } else {
        let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
        let port = if config.port == 0 { config.tls_port } else { config.port };
        tracing::info!("Running mode={mode}, port={port}.");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_banner_holds_pid_and_port() {
        let text = super::text(&skuld::config::Config::default());
        assert!(text.contains(&format!(" PID: {}\n", std::process::id())), "{text}");
        assert!(text.contains("Port: 6379\n"), "{text}");
    }
}
