//! What a change of the users means to connected clients.

use std::sync::Arc;

use skuld::acl::{Acl, User};

use crate::clients::ClientShared;
use crate::server::Server;
use crate::server_commands::client::end;
use crate::subscriptions::Kind;

/// Whether somebody who subscribed as `before` may have a subscription that `after` would not get.
fn has_lost_channels(before: &User, after: &User) -> bool {
    let upcoming = || after.selectors().iter();
    if upcoming().any(|selector| selector.all_channels()) {
        return false;
    }
    before.selectors().iter().any(|selector| {
        selector.all_channels()
            || selector
                .channels()
                .any(|name| !upcoming().any(|new| new.channels().any(|known| known == name)))
    })
}

/// Whether a user may have a subscription of this kind.
fn may_keep(user: &User, kind: Kind, name: &[u8]) -> bool {
    skuld::acl::check::may_subscribe(user, name, kind == Kind::Pattern)
}

/// Disconnects the clients of users that are gone, and those with subscriptions their users no longer have a right to.
/// Returns true if client `own` is one of them: it is left to the caller, which has to answer it first.
pub fn consequences(server: &Server, before: &Acl, after: &Acl, own: u64) -> bool {
    let mut own_ends = false;
    let mut close = |client: &Arc<ClientShared>| {
        if client.id == own {
            own_ends = true;
        } else {
            end(client);
        }
    };
    if before.users().any(|user| after.get(&user.name).is_none()) {
        for client in server.clients.all() {
            if after.get(&client.names().user).is_none() {
                close(&client);
            }
        }
    }
    let shrunk: Vec<&Arc<User>> = after
        .users()
        .filter(|user| {
            before.get(&user.name).is_some_and(|old| !Arc::ptr_eq(old, user) && has_lost_channels(old, user))
        })
        .collect();
    if !shrunk.is_empty() && server.subscriptions.any() {
        let lost = server.subscriptions.holders(|client, kind, name| {
            let holder = client.names().user;
            shrunk.iter().find(|user| user.name == holder).is_some_and(|user| !may_keep(user, kind, name))
        });
        lost.iter().for_each(&mut close);
    }
    own_ends
}
