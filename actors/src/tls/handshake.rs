//! Handshakes, on their own thread.

use std::net::SocketAddr;
use std::time::Duration;

use actix::Addr;
use skuld::config::TlsAuthClientsUser;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConnection;

use super::certificate;
use crate::envelope::tell;
use crate::listener::{Accepted, AcceptedSocket, Listener};
use crate::server::ServerRef;

/// Longest a client may take for its handshake.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the handshake of an accepted socket on the thread for it; the listener gets the result.
pub fn begin(server: &ServerRef, socket: TcpStream, peer: SocketAddr, listener: Addr<Listener>) {
    let (Some(settings), Some(thread)) = (server.tls.current(), server.tls.thread.get()) else { return };
    // A socket belongs to the runtime it was registered with, so it moves as a plain one.
    let Ok(socket) = socket.into_std() else { return };
    let server = server.clone();
    let handshake = async move {
        let Ok(socket) = TcpStream::from_std(socket) else { return };
        let acceptor = TlsAcceptor::from(settings.server.clone());
        match tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => {
                let (socket, session) = stream.into_inner();
                let user = user_of(&server, &session);
                let Ok(socket) = socket.into_std() else { return };
                let session = Box::new(session);
                tell(&listener, Accepted { socket: AcceptedSocket::Tls { socket, session, peer, user } });
            }
            Ok(Err(e)) => tracing::debug!("Error accepting a client connection: {e} (addr={peer})"),
            Err(_) => {
                tracing::debug!("Error accepting a client connection: no handshake in time (addr={peer})")
            }
        }
    };
    // The thread ends only with the process.
    let _ = thread.spawn(handshake);
}

/// The user that the client's certificate names, if `tls-auth-clients-user` asks for one.
fn user_of(server: &ServerRef, session: &ServerConnection) -> Option<Vec<u8>> {
    let wanted = server.config.load().tls_auth_clients_user;
    if wanted == TlsAuthClientsUser::Off {
        return None;
    }
    let names = certificate::names(session.peer_certificates()?.first()?);
    match wanted {
        TlsAuthClientsUser::CommonName => names.common,
        TlsAuthClientsUser::Uri => {
            let acl = server.access.current();
            let known = names.uris.iter().find(|uri| acl.get(uri).is_some()).cloned();
            known.or_else(|| names.uris.into_iter().next())
        }
        TlsAuthClientsUser::Off => None,
    }
}
