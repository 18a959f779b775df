//! DEBUG for the cluster: disturbing the bus.

use std::sync::PoisonError;

use skuld::cluster::NodeId;
use skuld::cluster::machine::DropFilter;
use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;

use super::{Outcome, Request};

/// `DEBUG CLUSTERLINK KILL (TO | FROM | ALL) node-id`
pub async fn kill_link(request: &mut Request) -> Outcome {
    let Some(cluster) = request.server.cluster.clone() else {
        return Err(CommandError::fixed("ERR Debug option only available for cluster mode enabled setup!"));
    };
    if !request.is_word(2, "kill") {
        return Err(CommandError::quoting(
            "ERR unknown subcommand or wrong number of arguments for '",
            &request.args[1],
            "'. Try DEBUG HELP.",
        ));
    }
    let direction = match request.args[3].to_ascii_lowercase().as_slice() {
        b"to" => Ok((true, false)),
        b"from" => Ok((false, true)),
        b"all" => Ok((true, true)),
        _ => Err(CommandError::quoting("ERR Unknown direction ", &request.args[3], "")),
    };
    let id = request.args[4].clone();
    cluster
        .with(move |machine, facts, _| {
            let found = NodeId::parse(&id).and_then(|id| machine.find(&id));
            let index = found.ok_or_else(|| CommandError::quoting("ERR Unknown node ", &id, ""))?;
            if index == machine.me_index() {
                return Err(CommandError::fixed("ERR Cannot free cluster link(s) to myself"));
            }
            let (to, from) = direction?;
            machine.kill_links(facts, index, to, from);
            Ok(())
        })
        .await?;
    request.reply.ok();
    Ok(())
}

/// The settings that last until they are set again.
pub async fn set_hook(request: &mut Request, name: &str) -> Outcome {
    let number = parse_integer(&request.args[2]);
    let on = number.unwrap_or(0) != 0;
    if name == "drop-cluster-packet-filter" && number.is_none() {
        return Err(CommandError::NotInteger);
    }
    if let Some(cluster) = request.server.cluster.clone() {
        {
            let mut hooks = cluster.debug.lock().unwrap_or_else(PoisonError::into_inner);
            match name {
                "drop-cluster-packet-filter" => {
                    hooks.drop = match number {
                        Some(-2) => DropFilter::All,
                        other => other
                            .and_then(|number| u16::try_from(number).ok())
                            .map_or(DropFilter::None, DropFilter::Only),
                    };
                }
                "close-cluster-link-on-packet-drop" => hooks.close_on_drop = on,
                "disable-cluster-random-ping" => hooks.no_random_ping = on,
                _ => hooks.no_reconnection = on,
            }
        }
        // In effect when the reply comes.
        cluster.with(|_, _, _| ()).await;
    }
    request.reply.ok();
    Ok(())
}
