//! TLS, with rustls.
//!
//! ```text
//!  Listener --socket--> thread "tls": handshake --socket and session--> Listener --> Connection on its worker
//! ```
//!
//! Handshakes take long, so they have a thread of their own. What is left then, records in and out, is part of the
//! connection's socket ([`stream::TlsStream`]). The settings are one snapshot, made of the `tls-*` directives and the files
//! they name, and made anew by CONFIG SET and by `tls-auto-reload-interval`; connections keep the one they began with.

pub mod certificate;
mod ciphers;
pub mod handshake;
mod settings;
pub mod stream;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use skuld::config::Config;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use settings::{build, modified_at};
pub use settings::{client_settings, is_wanted};

/// What the directives and files of now say.
pub struct Settings {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    /// For nodes that call, if the bus is encrypted: they must show a certificate, whatever `tls-auth-clients` says.
    pub bus: Option<Arc<ServerConfig>>,
    /// For INFO: the certificates of `tls-cert-file`, `tls-client-cert-file`, `tls-ca-cert-file`.
    pub shown: [Option<certificate::Facts>; 3],
    modified: Vec<Option<SystemTime>>,
}

/// The process's TLS.
#[derive(Default)]
pub struct Tls {
    settings: ArcSwapOption<Settings>,
    /// Unix milliseconds of the last look at the files.
    looked_ms: AtomicI64,
    /// Where handshakes are made.
    pub thread: OnceLock<actix::ArbiterHandle>,
}

impl Tls {
    /// The settings of now; None while no directive wants TLS.
    pub fn current(&self) -> Option<Arc<Settings>> {
        self.settings.load_full()
    }

    /// Reads certificates and keys, and uses them from now on.
    ///
    /// # Errors
    /// What is wrong with them; everything is as before then.
    pub fn load(&self, config: &Config) -> Result<(), String> {
        let settings = build(config)?;
        self.settings.store(Some(Arc::new(settings)));
        Ok(())
    }

    /// Loads the files again if `tls-auto-reload-interval` has passed and one of them is another one.
    pub fn reload_if_due(&self, config: &Config, now_ms: i64) {
        let Some(current) = self.current() else { return };
        let interval_ms = i64::from(config.tls_auto_reload_interval) * 1000;
        if interval_ms == 0 || now_ms - self.looked_ms.load(Ordering::Relaxed) < interval_ms {
            return;
        }
        self.looked_ms.store(now_ms, Ordering::Relaxed);
        if modified_at(config) == current.modified {
            tracing::trace!("TLS materials unchanged, nothing to reload");
            return;
        }
        match self.load(config) {
            Ok(()) => tracing::info!("TLS materials reloaded successfully"),
            Err(reason) => {
                tracing::warn!("TLS materials could not be reloaded, the former ones stay: {reason}");
            }
        }
    }

    /// Speaks TLS on a connection that this server has opened (to a primary, to another node). The other side must show a
    /// certificate that `tls-ca-cert-*` vouches for; its name does not matter, as in the reference server.
    ///
    /// # Errors
    /// Why there is no encrypted connection.
    pub async fn connect(
        &self,
        socket: TcpStream,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let settings = self.current().ok_or_else(|| std::io::Error::other("TLS is not configured"))?;
        let address = socket.peer_addr()?.ip();
        TlsConnector::from(settings.client.clone()).connect(ServerName::from(address), socket).await
    }

    /// Speaks TLS on a connection that another node of the cluster has opened.
    ///
    /// # Errors
    /// Why there is no encrypted connection.
    pub async fn accept_node(
        &self,
        socket: TcpStream,
    ) -> std::io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        let settings = self.current().and_then(|settings| settings.bus.clone());
        let settings = settings.ok_or_else(|| std::io::Error::other("TLS is not configured"))?;
        TlsAcceptor::from(settings).accept(socket).await
    }
}
