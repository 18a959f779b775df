//! MODULE: there are none to load; the list shows the Lua engine, as that of a stock server does.

use skuld::commands::context::CommandError;

use super::{Outcome, Request, config::is_allowed};
use crate::batch::Batch;

/// Runs the subcommand.
pub fn run(request: &mut Request, batch: &Batch) -> Outcome {
    if request.command.spec.name == "module|list" {
        let reply = &mut request.reply;
        reply.array(1);
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(b"lua");
        reply.bulk(b"ver");
        reply.integer(1);
        reply.bulk(b"path");
        reply.bulk(b"lua");
        reply.bulk(b"args");
        reply.array(0);
        return Ok(());
    }
    if !is_allowed(request.server.config.load().enable_module_command, &batch.session) {
        return Err(CommandError::fixed(
            "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it \
             from a local connection, otherwise you need to set this option in the configuration file, and then \
             restart the server.",
        ));
    }
    let (verb, outcome) = match request.command.spec.name {
        "module|unload" => ("unloading", "no such module with that name"),
        _ => ("loading", "modules cannot be loaded into this server"),
    };
    Err(CommandError::text(format!("ERR Error {verb} module: {outcome}")))
}
