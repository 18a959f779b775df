//! Accepts connections and places them on the workers, round robin.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use skuld::config::Config;
use skuld::session::Session;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::ServerConnection;
use tokio_util::sync::CancellationToken;

use crate::access::gate::Asker;
use crate::clients::ClientShared;
use crate::clock;
use crate::configure::os_text;
use crate::connection::{Connection, Stream};
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, outside_event, tell};
use crate::server::ServerRef;
use crate::tls::handshake;
use crate::tls::stream::TlsStream;

/// A socket was accepted.
pub struct Accepted {
    pub socket: AcceptedSocket,
}

/// What was accepted.
pub enum AcceptedSocket {
    Tcp(TcpStream, SocketAddr),
    /// The handshake is done.
    Tls {
        socket: std::net::TcpStream,
        session: Box<ServerConnection>,
        peer: SocketAddr,
        /// Whom the client's certificate names, if that is asked for.
        user: Option<Vec<u8>>,
    },
    Unix(UnixStream),
}

/// Accept no more; sent when the server shuts down.
pub struct StopAccepting;

/// Listen on the TCP port and addresses of another configuration from now on (CONFIG SET port, bind).
pub struct Rebind {
    pub new: Arc<Config>,
    /// What to go back to if that fails.
    pub old: Arc<Config>,
    /// Whether the new ones are in effect.
    pub reply: tokio::sync::oneshot::Sender<bool>,
}

crate::receives!(Listener: Accepted = 0, StopAccepting = 1, Rebind = 2);

/// The sockets the server listens on, bound before any data is loaded so that a taken port is known at once.
#[derive(Default)]
pub struct Bound {
    pub tcp: Vec<std::net::TcpListener>,
    pub tls: Vec<std::net::TcpListener>,
    pub unix: Option<std::os::unix::net::UnixListener>,
}

/// Binds all addresses of the configuration.
///
/// # Errors
/// The text to log when the server cannot listen as configured.
pub fn bind(config: &Config) -> Result<Bound, String> {
    let mut bound = Bound {
        tcp: bind_port(config, config.port, "tcp")?,
        tls: bind_port(config, config.tls_port, "tls")?,
        unix: None,
    };
    if !config.unixsocket.is_empty() {
        bound.unix = Some(bind_unix(config)?);
    }
    Ok(bound)
}

fn bind_port(config: &Config, port: u16, kind: &str) -> Result<Vec<std::net::TcpListener>, String> {
    let mut tcp = Vec::new();
    if port != 0 {
        let mut last_error = None;
        for address in &config.bind {
            let address = address.to_str();
            let (optional, host) = match address.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, &*address),
            };
            match listen_tcp(host, port, config) {
                Ok(socket) => tcp.push(socket),
                Err(e) if optional => last_error = Some((address.clone().into_owned(), e)),
                Err(e) => {
                    tracing::warn!(
                        "Warning: Could not create server TCP listening socket {host}:{port}: {}",
                        reason(&e)
                    );
                    return Err(format!("Failed listening on port {port} ({kind}), aborting."));
                }
            }
        }
        if let (true, Some((address, e))) = (tcp.is_empty(), last_error) {
            tracing::warn!(
                "Warning: Could not create server TCP listening socket {address}:{port}: {}",
                reason(&e)
            );
            return Err(format!("Failed listening on port {port} ({kind}), aborting."));
        }
    }
    Ok(tcp)
}

/// Why an address cannot be listened on: it names nothing, or the system refuses.
fn reason(error: &std::io::Error) -> String {
    let text = os_text(error);
    match text.strip_prefix("failed to lookup address information: ") {
        Some(unknown) => unknown.to_owned(),
        None => format!("bind: {text}"),
    }
}

/// Binds the bus of a cluster node, on all addresses clients can use.
///
/// # Errors
/// The text to log.
pub fn bind_bus(config: &Config, port: u16) -> Result<Vec<std::net::TcpListener>, String> {
    let mut sockets = Vec::new();
    for address in &config.bind {
        let address = address.to_str();
        let (optional, host) = match address.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, &*address),
        };
        match listen_tcp(host, port, config) {
            Ok(socket) => sockets.push(socket),
            Err(_) if optional => {}
            Err(e) => {
                tracing::warn!(
                    "Warning: Could not create server TCP listening socket {host}:{port}: {}",
                    reason(&e)
                );
                return Err(format!("Failed listening on port {port} (cluster), aborting."));
            }
        }
    }
    if sockets.is_empty() {
        return Err(format!("Failed listening on port {port} (cluster), aborting."));
    }
    Ok(sockets)
}

fn bind_unix(config: &Config) -> Result<std::os::unix::net::UnixListener, String> {
    let path = &*config.unixsocket.to_str();
    let _ = std::fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path)
        .map_err(|e| format!("Failed opening Unix socket: bind: {e}"))?;
    listener.set_nonblocking(true).map_err(|e| format!("Failed opening Unix socket: {e}"))?;
    if config.unixsocketperm != 0 {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(config.unixsocketperm);
        std::fs::set_permissions(path, permissions)
            .map_err(|e| format!("Failed opening Unix socket: {e}"))?;
    }
    let group = config.unixsocketgroup.to_str();
    if !group.is_empty() {
        let id = group_id(&group).ok_or_else(|| format!("Failed opening Unix socket: no group '{group}'"))?;
        std::os::unix::fs::chown(path, None, Some(id))
            .map_err(|e| format!("Failed opening Unix socket: chown: {e}"))?;
    }
    Ok(listener)
}

/// The id of a group, given by name or by number.
pub fn group_id(group: &str) -> Option<u32> {
    let named = nix::unistd::Group::from_name(group).ok().flatten().map(|g| g.gid.as_raw());
    named.or_else(|| group.parse().ok())
}

fn listen_tcp(host: &str, port: u16, config: &Config) -> io::Result<std::net::TcpListener> {
    let address: SocketAddr = match host {
        "*" => SocketAddr::from(([0, 0, 0, 0], port)),
        "::*" => SocketAddr::from(([0u16; 8], port)),
        host => (host, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))?,
    };
    let domain = Domain::for_address(address);
    let plain = || Socket::new(domain, Type::STREAM, Some(Protocol::TCP));
    let socket = if config.mptcp {
        Socket::new(domain, Type::STREAM, Some(Protocol::from(libc::IPPROTO_MPTCP))).or_else(|e| {
            tracing::warn!("This system has no Multipath TCP ({}), plain TCP is used.", os_text(&e));
            plain()
        })?
    } else {
        plain()?
    };
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if config.socket_mark_id != 0 {
        socket.set_mark(config.socket_mark_id)?;
    }
    socket.bind(&address.into())?;
    socket.listen(config.tcp_backlog as i32)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The actor.
pub struct Listener {
    id: ActorId,
    server: ServerRef,
    workers: Vec<ArbiterHandle>,
    next_worker: usize,
    bound: Option<Bound>,
    tasks: Vec<SpawnHandle>,
    /// Ends the TCP accept loops; each of them closes its socket then, and drops its end of `tcp_loops`.
    stop_tcp: CancellationToken,
    tcp_loops: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
}

impl Listener {
    pub fn new(server: ServerRef, workers: Vec<ArbiterHandle>, bound: Bound) -> Self {
        Self {
            id: next_actor(ActorKind::Listener),
            server,
            workers,
            next_worker: 0,
            bound: Some(bound),
            tasks: Vec::new(),
            stop_tcp: CancellationToken::new(),
            tcp_loops: Some(mpsc::channel(1)),
        }
    }

    fn accept_tcp(
        &mut self,
        sockets: Vec<std::net::TcpListener>,
        encrypted: bool,
        ctx: &mut Context<Self>,
    ) -> io::Result<()> {
        let id = self.id;
        for std in sockets {
            let listener = TcpListener::from_std(std)?;
            let address = ctx.address();
            let stop = self.stop_tcp.clone();
            let alive = self.tcp_loops.as_ref().map(|(alive, _)| alive.clone());
            let server = self.server.clone();
            let accept = async move {
                let mut in_a_row = 0;
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => {
                            in_a_row += 1;
                            let config = server.config.load();
                            let most = if encrypted {
                                config.max_new_tls_connections_per_cycle
                            } else {
                                config.max_new_connections_per_cycle
                            };
                            if in_a_row >= most {
                                // A flood of new clients must not keep those there are waiting.
                                in_a_row = 0;
                                tokio::task::yield_now().await;
                            }
                            outside_event(id, clock::tick());
                            if encrypted {
                                handshake::begin(&server, stream, peer, address.clone());
                            } else {
                                tell(&address, Accepted { socket: AcceptedSocket::Tcp(stream, peer) });
                            }
                        }
                        Err(e) => pause_after_accept_error(e).await,
                    }
                }
            };
            let task = async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = accept => {}
                }
                drop(alive);
            };
            self.tasks.push(ctx.spawn(task.into_actor(self)));
        }
        Ok(())
    }

    /// Binds the configuration's TCP addresses and accepts there.
    fn listen_tcp_again(&mut self, config: &Config, ctx: &mut Context<Self>) -> bool {
        self.stop_tcp = CancellationToken::new();
        self.tcp_loops = Some(mpsc::channel(1));
        let plain = bind_port(config, config.port, "tcp");
        let encrypted = bind_port(config, config.tls_port, "tls");
        match (plain, encrypted) {
            (Ok(plain), Ok(encrypted)) => {
                self.accept_tcp(plain, false, ctx).is_ok() && self.accept_tcp(encrypted, true, ctx).is_ok()
            }
            _ => false,
        }
    }

    fn accept_loops(&mut self, bound: Bound, ctx: &mut Context<Self>) -> io::Result<()> {
        let id = self.id;
        self.accept_tcp(bound.tcp, false, ctx)?;
        self.accept_tcp(bound.tls, true, ctx)?;
        if let Some(std) = bound.unix {
            let listener = UnixListener::from_std(std)?;
            let address = ctx.address();
            self.tasks.push(
                ctx.spawn(
                    async move {
                        loop {
                            match listener.accept().await {
                                Ok((stream, _)) => {
                                    outside_event(id, clock::tick());
                                    tell(&address, Accepted { socket: AcceptedSocket::Unix(stream) });
                                }
                                Err(e) => pause_after_accept_error(e).await,
                            }
                        }
                    }
                    .into_actor(self),
                ),
            );
        }
        Ok(())
    }

    /// Whether the server takes this client, or what to tell it.
    fn refusal(&self, socket: &AcceptedSocket) -> Option<&'static [u8]> {
        let config = self.server.config.load();
        if self.server.clients.len() >= config.maxclients as usize {
            return Some(b"-ERR max number of clients reached\r\n");
        }
        if let AcceptedSocket::Tcp(_, peer) | AcceptedSocket::Tls { peer, .. } = socket {
            let loopback = match peer.ip() {
                std::net::IpAddr::V4(ip) => ip.is_loopback(),
                std::net::IpAddr::V6(ip) => {
                    ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
                }
            };
            if config.protected_mode && self.server.access.default_has_no_password() && !loopback {
                return Some(PROTECTED_MODE);
            }
        }
        None
    }
}

const PROTECTED_MODE: &[u8] = b"-DENIED Running in protected mode because protected mode is enabled and no password is \
set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
connect from external computers, you may adopt one of the following solutions: 1) Just disable protected mode sending \
the command 'CONFIG SET protected-mode no' from the loopback interface by connecting from the same host the server is \
running, however MAKE SURE it's not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this \
change permanent. 2) Alternatively you can just disable the protected mode by editing the configuration file, and \
setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just \
for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default \
user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from \
the outside.\r\n";

/// Out of file descriptors and the like: accepting again at once would spin.
async fn pause_after_accept_error(error: io::Error) {
    tracing::warn!("Accepting client connection: {error}");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(bound) = self.bound.take()
            && let Err(e) = self.accept_loops(bound, ctx)
        {
            tracing::error!("Cannot watch the listening sockets: {e}");
            std::process::exit(1);
        }
    }
}

impl TracedActor for Listener {
    const KIND: ActorKind = ActorKind::Listener;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<StopAccepting> for Listener {
    fn receive(&mut self, _: StopAccepting, ctx: &mut Context<Self>) {
        for task in self.tasks.drain(..) {
            ctx.cancel_future(task);
        }
    }
}

impl Receive<Rebind> for Listener {
    fn receive(&mut self, Rebind { new, old, reply }: Rebind, ctx: &mut Context<Self>) {
        self.stop_tcp.cancel();
        let loops = self.tcp_loops.take();
        let stopped = async move {
            if let Some((alive, mut ended)) = loops {
                drop(alive);
                // Nothing is ever sent: this is over when the last loop has dropped its end.
                ended.recv().await;
            }
        };
        ctx.spawn(stopped.into_actor(self).map(move |(), listener, ctx| {
            let listening = listener.listen_tcp_again(&new, ctx);
            if !listening && !listener.listen_tcp_again(&old, ctx) {
                tracing::warn!("The former addresses cannot be listened on either.");
            }
            // Who asked may have gone.
            let _ = reply.send(listening);
        }));
    }
}

impl Receive<Accepted> for Listener {
    fn receive(&mut self, Accepted { socket }: Accepted, _: &mut Context<Self>) {
        let stats = &self.server.stats;
        if let Some(line) = self.refusal(&socket) {
            stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
            // Best effort, as in Valkey: the line fits any socket buffer, and the client is closed either way.
            let _ = match &socket {
                AcceptedSocket::Tcp(s, _) => s.try_write(line),
                AcceptedSocket::Unix(s) => s.try_write(line),
                // There is no telling it in a record that may have to wait.
                AcceptedSocket::Tls { .. } => Ok(0),
            };
            return;
        }
        stats.total_connections_received.fetch_add(1, Ordering::Relaxed);
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.workers.len();
        let server = self.server.clone();
        // A socket belongs to the runtime it was registered with, so it moves as a plain one.
        let unregistered = match socket {
            AcceptedSocket::Tcp(s, peer) => s.into_std().map(|s| Unregistered::Tcp(s, peer)),
            AcceptedSocket::Unix(s) => s.into_std().map(Unregistered::Unix),
            AcceptedSocket::Tls { socket, session, peer, user } => {
                Ok(Unregistered::Tls { socket, session, peer, user })
            }
        };
        match unregistered {
            Ok(socket) => {
                self.workers[worker].spawn_fn(move || place(server, worker as u16, socket));
            }
            Err(e) => tracing::warn!("Error registering fd event for the new client connection: {e}"),
        }
    }
}

enum Unregistered {
    Tcp(std::net::TcpStream, SocketAddr),
    Tls {
        socket: std::net::TcpStream,
        session: Box<ServerConnection>,
        peer: SocketAddr,
        user: Option<Vec<u8>>,
    },
    Unix(std::os::unix::net::UnixStream),
}

/// Starts the connection's actor on the thread it runs on from now on.
fn place(server: ServerRef, worker: u16, socket: Unregistered) {
    let id = next_actor(ActorKind::Connection);
    let config = server.config.load_full();
    let mut certified = None;
    let (stream, peer, local, fd, unix_socket) = match socket {
        Unregistered::Tcp(s, peer) => {
            prepare(&s, &config);
            let local = s.local_addr().map(text_of).unwrap_or_default();
            let fd = s.as_raw_fd();
            match TcpStream::from_std(s) {
                Ok(s) => (Stream::Tcp(s), text_of(peer), local, fd, false),
                Err(_) => return,
            }
        }
        Unregistered::Tls { socket: s, session, peer, user } => {
            prepare(&s, &config);
            certified = user;
            let local = s.local_addr().map(text_of).unwrap_or_default();
            let fd = s.as_raw_fd();
            match TcpStream::from_std(s) {
                Ok(s) => {
                    let stream = Stream::Tls(Box::new(TlsStream::new(s, *session)));
                    (stream, text_of(peer), local, fd, false)
                }
                Err(_) => return,
            }
        }
        Unregistered::Unix(s) => {
            let path = config.unixsocket.to_str().into_owned();
            let fd = s.as_raw_fd();
            match UnixStream::from_std(s) {
                Ok(s) => {
                    // Valkey takes the colon in it for that of an IPv6 address.
                    let shown = format!("[{path}:0]:0");
                    (Stream::Unix(s), shown.clone(), shown, fd, true)
                }
                Err(_) => return,
            }
        }
    };
    let client_id = server.clients.next_id();
    let mut session = Session::new(client_id);
    session.authenticated = server.access.is_open();
    session.peer = peer.into();
    session.local = local.into();
    session.unix_socket = unix_socket;
    session.tls = matches!(stream, Stream::Tls(_));
    let known =
        certified.as_ref().map(|name| server.access.current().get(name).filter(|user| user.enabled).cloned());
    if let Some(Some(user)) = &known {
        session.user = user.clone();
        session.authenticated = true;
    }
    let shard = server.shard(worker).clone();
    Connection::create(move |ctx| {
        let shared = Arc::new(ClientShared::new(&session, fd, ctx.address()));
        server.clients.insert(shared.clone());
        if let (Some(None), Some(name)) = (&known, &certified) {
            let asker = Asker { server: &server, session: &session, shared: &shared };
            asker.certificate_refused(name.clone());
        }
        Connection::new(id, server, shared, shard, stream, session, ctx.address())
    });
}

/// Options of an accepted TCP socket.
fn prepare(socket: &std::net::TcpStream, config: &Config) {
    let _ = socket.set_nodelay(true);
    if config.tcp_keepalive > 0 {
        let idle = std::time::Duration::from_secs(config.tcp_keepalive as u64);
        let third = std::time::Duration::from_secs((config.tcp_keepalive as u64 / 3).max(1));
        let _ = SockRef::from(socket)
            .set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(third).with_retries(3));
    }
}

/// An address as Valkey prints it: IPv6 in brackets.
fn text_of(address: SocketAddr) -> String {
    address.to_string()
}
