//! TLS: servers and clients with certificates made here, redis-cli and Python's own TLS as foreign clients.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use support::client::Client;
use support::server::{Launch, Server, TempDir, free_port, skuld_binary};
use support::text::words;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority and the certificates it has signed, as files.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = TempDir::new();
        std::fs::write(dir.path().join("ca.crt"), certificate.pem()).expect("written");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// Signs a certificate for `name`, valid for 127.0.0.1 and localhost.
    fn sign(&self, file: &str, name: &str, serial: u64) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.subject_alt_names.push(SanType::URI(format!("urn:user:{name}").try_into().expect("ascii")));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.path(&format!("{file}.crt")), certificate.pem()).expect("written");
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("written");
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    fn launch(&self, workers: usize, tls_port: u16) -> Launch {
        Launch::skuld(workers)
            .option("tls-port", &tls_port.to_string())
            .option("tls-cert-file", &self.text("server.crt"))
            .option("tls-key-file", &self.text("server.key"))
            .option("tls-ca-cert-file", &self.text("ca.crt"))
    }

    /// A client that trusts this authority; `own` is the certificate it shows.
    fn client(&self, own: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("ca.crt")).expect("a certificate"))
            .expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let chain =
                    CertificateDer::from_pem_file(self.path(&format!("{file}.crt"))).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).expect("a key");
                builder.with_client_auth_cert(vec![chain], key).expect("a pair")
            }
        })
    }
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

fn connect(port: u16, config: &Arc<ClientConfig>) -> Secure {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(config.clone(), name).expect("a session"), socket)
}

fn ask(stream: &mut Secure, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = vec![0; 1 << 16];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

fn raw(client: &mut Client, line: &str) -> String {
    let frame = client.call(&words(line)).expect("an answer");
    String::from_utf8_lossy(&frame.raw).into_owned()
}

fn wait_for(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn clients_with_certificates_are_served() {
    let authority = Authority::new();
    authority.sign("server", "server", 0x1234);
    authority.sign("client", "client", 2);
    for workers in [1, 3] {
        let port = free_port();
        let server = authority.launch(workers, port).start();
        assert!(server.log().contains("Ready to accept connections tls"), "{}", server.log());
        let config = authority.client(Some("client"));
        let mut stream = connect(port, &config);
        assert_eq!(ask(&mut stream, "PING").expect("served"), "+PONG\r\n");
        assert!(ask(&mut stream, "CLIENT INFO").expect("served").contains(&format!(":{port} ")));
        let info = ask(&mut stream, "INFO tls").expect("served");
        assert!(info.contains("tls_server_cert_serial:1234\r\n"), "{info}");
        // Large values, in both directions, through records of 16 KiB and sockets that fill.
        let value = "x".repeat(3 << 20);
        write!(stream, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n{value}\r\n", value.len()).expect("sent");
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).expect("an answer");
        assert_eq!(&ok, b"+OK\r\n");
        for _ in 0..3 {
            stream.write_all(b"GET big\r\n").expect("sent");
        }
        let frame = format!("${}\r\n{value}\r\n", value.len());
        let mut all = vec![0; frame.len() * 3];
        stream.read_exact(&mut all).expect("three values");
        assert!(all == frame.repeat(3).into_bytes());
        // Without a certificate there is no session.
        let mut stranger = connect(port, &authority.client(None));
        assert!(ask(&mut stranger, "PING").is_err());
        // The plain port is there too, and the server goes on.
        assert_eq!(server.connect().ask("PING").text(), "PONG");
        assert_eq!(ask(&mut stream, "PING").expect("served"), "+PONG\r\n");
        assert_eq!(ask(&mut stream, "QUIT").expect("served"), "+OK\r\n");
        assert_eq!(stream.read(&mut ok).expect("closed properly"), 0);
    }
}

#[test]
fn certificates_may_be_optional_and_name_users() {
    let authority = Authority::new();
    authority.sign("server", "server", 1);
    authority.sign("alice", "alice", 2);
    authority.sign("mallory", "mallory", 3);
    let port = free_port();
    let server = authority
        .launch(1, port)
        .option("tls-auth-clients", "optional")
        .option("tls-auth-clients-user", "CN")
        .option("requirepass", "secret")
        .start();
    let mut admin = server.connect();
    admin.ask("AUTH secret");
    admin.ask("ACL SETUSER alice on +@all ~*");
    let mut nobody = connect(port, &authority.client(None));
    assert!(ask(&mut nobody, "PING").expect("an answer").starts_with("-NOAUTH"));
    let mut alice = connect(port, &authority.client(Some("alice")));
    assert_eq!(ask(&mut alice, "ACL WHOAMI").expect("served"), "$5\r\nalice\r\n");
    let mut mallory = connect(port, &authority.client(Some("mallory")));
    assert!(ask(&mut mallory, "PING").expect("an answer").starts_with("-NOAUTH"));
    assert!(admin.ask("INFO stats").text().contains("acl_access_denied_tls_cert:1\r\n"));
    assert_eq!(admin.ask("CONFIG SET tls-auth-clients-user URI").text(), "OK");
    admin.ask("ACL SETUSER urn:user:alice on +@all");
    let mut alice = connect(port, &authority.client(Some("alice")));
    assert!(ask(&mut alice, "ACL WHOAMI").expect("served").contains("urn:user:alice"));
}

#[test]
fn settings_change_while_the_server_runs() {
    let authority = Authority::new();
    authority.sign("server", "server", 1);
    authority.sign("other", "server", 0xabc);
    let server = Launch::skuld(1).start();
    let mut admin = server.connect();
    let port = free_port();
    let refusal = "Unable to update TLS configuration. Check server logs.";
    assert!(raw(&mut admin, &format!("CONFIG SET tls-port {port}")).contains(refusal));
    let set = format!(
        "CONFIG SET tls-port {port} tls-cert-file {} tls-key-file {} tls-auth-clients no",
        authority.text("server.crt"),
        authority.text("server.key")
    );
    assert_eq!(admin.ask(&set).text(), "OK");
    let config = authority.client(None);
    let mut before = connect(port, &config);
    assert_eq!(ask(&mut before, "PING").expect("served"), "+PONG\r\n");
    // Another certificate, by CONFIG SET; what is connected goes on.
    let set = format!(
        "CONFIG SET tls-cert-file {} tls-key-file {}",
        authority.text("other.crt"),
        authority.text("other.key")
    );
    assert_eq!(admin.ask(&set).text(), "OK");
    assert!(admin.ask("INFO tls").text().contains("tls_server_cert_serial:0ABC\r\n"));
    assert_eq!(ask(&mut before, "PING").expect("served"), "+PONG\r\n");
    assert!(raw(&mut admin, "CONFIG SET tls-cert-file /nonexistent").contains(refusal));
    assert!(admin.ask("CONFIG SET tls-ciphers RC4-MD5").is_error());
    assert!(admin.ask("CONFIG SET tls-protocols SSLv3").is_error());
    assert_eq!(
        admin.ask("CONFIG SET tls-protocols TLSv1.2 tls-ciphers ECDHE-ECDSA-AES128-GCM-SHA256").text(),
        "OK"
    );
    let mut old = connect(port, &config);
    assert_eq!(ask(&mut old, "PING").expect("served"), "+PONG\r\n");
    assert_eq!(old.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    // By interval: the same path, another file.
    assert_eq!(admin.ask("CONFIG SET tls-auto-reload-interval 1").text(), "OK");
    authority.sign("other", "server", 0xdef);
    wait_for("reload", || admin.ask("INFO tls").text().contains("tls_server_cert_serial:0DEF\r\n"));
    // Elsewhere, and nowhere.
    let elsewhere = free_port();
    assert_eq!(admin.ask(&format!("CONFIG SET tls-port {elsewhere}")).text(), "OK");
    assert_eq!(ask(&mut connect(elsewhere, &config), "PING").expect("served"), "+PONG\r\n");
    assert_eq!(admin.ask("CONFIG SET tls-port 0").text(), "OK");
    assert!(TcpStream::connect(("127.0.0.1", elsewhere)).is_err());
}

#[test]
fn foreign_clients_and_the_health_check_are_served() {
    let authority = Authority::new();
    authority.sign("server", "server", 1);
    authority.sign("client", "client", 2);
    let port = free_port();
    let server: Server = authority.launch(1, port).start();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    let (ca, certificate, key) =
        (authority.text("ca.crt"), authority.text("client.crt"), authority.text("client.key"));
    let number = port.to_string();
    let cli = ["-p", &number, "--tls", "--cacert", &ca, "--cert", &certificate, "--key", &key, "PING"];
    match run("redis-cli", &cli) {
        Some(answer) => assert_eq!(answer.trim(), "PONG"),
        None => eprintln!("SKIPPED: redis-cli is not installed"),
    }
    let script = "import socket, ssl, sys\n\
                  c = ssl.create_default_context(cafile=sys.argv[1]); c.load_cert_chain(sys.argv[2], sys.argv[3])\n\
                  s = c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[4]))), server_hostname='localhost')\n\
                  s.sendall(b'ECHO from-python\\r\\n'); print(s.recv(100).decode())\n";
    match run("python3", &["-c", script, &ca, &certificate, &key, &number]) {
        Some(answer) => assert!(answer.contains("from-python"), "{answer}"),
        None => eprintln!("SKIPPED: python3 is not installed"),
    }
    drop(server);
    // Without any plain port: the binary asks itself in TLS.
    let port = free_port();
    let arguments = |check: bool| {
        let mut all: Vec<String> = Vec::new();
        if check {
            all.push("--healthcheck".into());
        }
        for (name, value) in [
            ("--port", "0"),
            ("--tls-port", &port.to_string()),
            ("--tls-cert-file", &authority.text("server.crt")),
            ("--tls-key-file", &authority.text("server.key")),
            ("--tls-ca-cert-file", &authority.text("ca.crt")),
            ("--dir", &Path::new(&authority.text("")).display().to_string()),
            ("--save", ""),
        ] {
            all.extend([name.to_owned(), value.to_owned()]);
        }
        all
    };
    let mut child = Command::new(skuld_binary()).args(arguments(false)).spawn().expect("started");
    wait_for("health", || {
        Command::new(skuld_binary()).args(arguments(true)).status().is_ok_and(|status| status.success())
    });
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// Both channels of a synchronization, the stream, and its continuation after a cut are encrypted if `tls-replication`
/// says so.
#[test]
fn replicas_speak_tls_with_their_primary() {
    let authority = Authority::new();
    authority.sign("server", "server", 7);
    for (workers, dual_channel) in [(1, "no"), (2, "yes")] {
        let (port, port_of_replica) = (free_port(), free_port());
        let launch = |workers, port| {
            authority
                .launch(workers, port)
                .option("tls-replication", "yes")
                .option("repl-diskless-sync-delay", "0")
                .option("dual-channel-replication-enabled", dual_channel)
                .start()
        };
        let (primary, replica) = (launch(workers, port), launch(1, port_of_replica));
        let (mut client, mut of_replica) = (primary.connect(), replica.connect());
        assert_eq!(raw(&mut client, "DEBUG POPULATE 3000 key 1000"), "+OK\r\n");
        assert_eq!(raw(&mut of_replica, &format!("REPLICAOF 127.0.0.1 {port}")), "+OK\r\n");
        let same = |client: &mut Client, of_replica: &mut Client| {
            raw(of_replica, "INFO replication").contains("master_link_status:up")
                && raw(client, "DEBUG DIGEST") == raw(of_replica, "DEBUG DIGEST")
        };
        wait_for("the replica has everything", || same(&mut client, &mut of_replica));
        let shown = raw(&mut client, "INFO replication");
        assert!(shown.contains(&format!("port={port_of_replica},state=online")), "{shown}");
        assert!(raw(&mut client, "CLIENT LIST TYPE replica").contains(&format!(":{port} ")));
        raw(&mut client, "CLIENT KILL TYPE replica");
        raw(&mut client, &format!("SET after {}", "x".repeat(100_000)));
        wait_for("the replica goes on", || same(&mut client, &mut of_replica));
        let stats = raw(&mut client, "INFO stats");
        assert!(stats.contains("sync_full:1\r\n"), "{stats}\n{}\n{}", primary.log(), replica.log());
    }
}

/// Nodes whose bus and replication are encrypted elect a replica when a primary dies, and each client is sent to a port that
/// speaks as it does.
#[test]
fn a_cluster_over_tls_survives_a_primary() {
    let authority = Authority::new();
    authority.sign("server", "server", 7);
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let node = |port: &u16| {
        let options = [
            ("cluster-enabled", "yes"),
            ("cluster-node-timeout", "1000"),
            ("tls-cluster", "yes"),
            ("tls-replication", "yes"),
            ("tls-auth-clients", "no"),
            ("repl-diskless-sync-delay", "0"),
        ];
        let launch = options
            .iter()
            .fold(authority.launch(1, *port), |launch, (name, value)| launch.option(name, value));
        launch.option("cluster-port", &free_port().to_string()).start()
    };
    let mut nodes: Vec<Server> = ports.iter().map(node).collect();
    for (index, slots) in ["0 5460", "5461 10922", "10923 16383"].iter().enumerate() {
        let mut client = nodes[index].connect();
        assert_eq!(raw(&mut client, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), "+OK\r\n");
        assert_eq!(raw(&mut client, &format!("CLUSTER ADDSLOTSRANGE {slots}")), "+OK\r\n");
    }
    let mut first = nodes[0].connect();
    for (node, port) in nodes.iter().zip(&ports).skip(1) {
        let bus = node.connect().ask("CONFIG GET cluster-port").items()[1].text();
        assert_eq!(raw(&mut first, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}")), "+OK\r\n");
    }
    let is_well = |node: &Server| {
        let info = raw(&mut node.connect(), "CLUSTER INFO");
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4\r\n")
    };
    wait_for("the cluster is well", || nodes.iter().all(is_well));
    let id = nodes[2].connect().ask("CLUSTER MYID").text();
    assert_eq!(raw(&mut nodes[3].connect(), &format!("CLUSTER REPLICATE {id}")), "+OK\r\n");
    let follows =
        |node: &Server| raw(&mut node.connect(), "INFO replication").contains("master_link_status:up");
    wait_for("the replica follows", || follows(&nodes[3]));
    // Slot 12182, of the third. A replica that has data asks for votes without delay.
    assert_eq!(raw(&mut nodes[2].connect(), "SET foo bar"), "+OK\r\n");
    assert_eq!(raw(&mut nodes[2].connect(), "WAIT 1 10000"), ":1\r\n");
    let config = authority.client(None);
    let sent_to = |node: usize| {
        let plainly = raw(&mut nodes[0].connect(), "GET foo")
            == format!("-MOVED 12182 127.0.0.1:{}\r\n", nodes[node].port);
        let secure = ask(&mut connect(ports[0], &config), "GET foo").expect("an answer");
        plainly && secure == format!("-MOVED 12182 127.0.0.1:{}\r\n", ports[node])
    };
    wait_for("clients are sent to the primary", || sent_to(2));
    let known = |node: &Server| raw(&mut node.connect(), "CLUSTER NODES").contains("slave");
    wait_for("everybody knows the replica", || nodes.iter().all(known));
    nodes[2].signal("KILL");
    wait_for("clients are sent to the heir", || sent_to(3));
    let shards = ask(&mut connect(ports[0], &config), "CLUSTER SHARDS").expect("an answer");
    assert!(shards.contains(&format!("$8\r\ntls-port\r\n:{}\r\n", ports[3])), "{shards}");
    assert_eq!(ask(&mut connect(ports[3], &config), "GET foo").expect("an answer"), "$3\r\nbar\r\n");
    assert_eq!(raw(&mut nodes[3].connect(), "SET foo more"), "+OK\r\n");
    nodes[2].wait_for_exit();
}

/// Slots move over an encrypted link between nodes whose bus is encrypted, too; and a job is cancelled while its handshake
/// of TLS is not answered.
#[test]
fn slots_move_over_tls() {
    let authority = Authority::new();
    authority.sign("server", "server", 7);
    let node = || {
        let options = [("cluster-enabled", "yes"), ("tls-cluster", "yes"), ("tls-replication", "yes")];
        let launch = options
            .iter()
            .fold(authority.launch(1, free_port()), |launch, (name, value)| launch.option(name, value));
        launch.option("cluster-port", &free_port().to_string()).start()
    };
    let (source, target) = (node(), node());
    let (mut a, mut b) = (source.connect(), target.connect());
    assert_eq!(raw(&mut a, "CLUSTER ADDSLOTSRANGE 0 8191"), "+OK\r\n");
    assert_eq!(raw(&mut b, "CLUSTER ADDSLOTSRANGE 8192 16383"), "+OK\r\n");
    let number =
        |client: &mut Client, name: &str| client.ask(&format!("CONFIG GET {name}")).items()[1].text();
    let (port, bus) = (number(&mut b, "tls-port"), number(&mut b, "cluster-port"));
    assert_eq!(raw(&mut a, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}")), "+OK\r\n");
    for client in [&mut a, &mut b] {
        wait_for("the cluster is well", || raw(client, "CLUSTER INFO").contains("cluster_state:ok"));
    }
    for n in 0..200 {
        assert_eq!(raw(&mut a, &format!("SET {{06S}}{n} {}", "x".repeat(1000))), "+OK\r\n");
    }
    let id = b.ask("CLUSTER MYID").text();
    let migrate = format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 10 NODE {id}");
    let shows = |client: &mut Client, state: &str| {
        raw(client, "CLUSTER GETSLOTMIGRATIONS")
            .contains(&format!("state\r\n${}\r\n{state}\r\n", state.len()))
    };
    target.signal("STOP");
    assert_eq!(raw(&mut a, &migrate), "+OK\r\n");
    assert!(shows(&mut a, "connecting"));
    assert_eq!(raw(&mut a, "CLUSTER CANCELSLOTMIGRATIONS"), "+OK\r\n");
    assert!(shows(&mut a, "cancelled"));
    target.signal("CONT");
    assert_eq!(raw(&mut a, &migrate), "+OK\r\n");
    wait_for("the slots have moved", || shows(&mut a, "success") && shows(&mut b, "success"));
    assert_eq!(b.ask("CLUSTER COUNTKEYSINSLOT 0").integer(), Some(200));
    assert_eq!(raw(&mut b, "GET {06S}7").len(), 1000 + 9);
    assert!(source.log().contains(&format!("(127.0.0.1:{port})")), "to the port for TLS\n{}", source.log());
}
