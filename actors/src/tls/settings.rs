//! From `tls-*` directives to settings.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use skuld::config::{Config, TlsAuthClients};
use tokio_rustls::rustls;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use super::{Settings, certificate, ciphers};

/// Whether a directive asks for TLS.
pub fn is_wanted(config: &Config) -> bool {
    config.tls_port != 0 || config.tls_replication || config.tls_cluster
}

/// Makes settings of the configuration and of the files it names.
///
/// # Errors
/// What is wrong.
pub fn build(config: &Config) -> Result<Settings, String> {
    let modified = modified_at(config);
    let provider = Arc::new(ciphers::provider(config)?);
    let versions = versions(config)?;
    let roots = roots(config)?;
    let own = own_certificate(config)?;
    let shown = [
        facts(&config.tls_cert_file.to_str()),
        facts(&config.tls_client_cert_file.to_str()),
        authorities(config)?.iter().filter_map(|der| certificate::facts(der)).min_by_key(|f| f.not_after),
    ];
    let auth = config.tls_auth_clients;
    let bus = if config.tls_cluster {
        let own = (own.0.clone(), own.1.clone_key());
        Some(Arc::new(server(config, &provider, &versions, roots.clone(), own, TlsAuthClients::Yes)?))
    } else {
        None
    };
    Ok(Settings {
        bus,
        server: Arc::new(server(config, &provider, &versions, roots.clone(), own, auth)?),
        client: Arc::new(client(config, &provider, &versions, roots)?),
        shown,
        modified,
    })
}

fn facts(path: &str) -> Option<certificate::Facts> {
    let first = certificates(path).ok()?.into_iter().next()?;
    certificate::facts(&first)
}

/// Whether the certificate may be used now. What cannot be read is left to the handshake.
fn is_valid_now(certificate: &CertificateDer<'_>) -> bool {
    let now = crate::clock::unix_ms() / 1000;
    certificate::facts(certificate).is_none_or(|facts| (facts.not_before..=facts.not_after).contains(&now))
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| format!("{path}: {e}"))?.collect();
    let all = all.map_err(|e| format!("{path}: {e}"))?;
    if all.is_empty() { Err(format!("{path}: no certificate in this file")) } else { Ok(all) }
}

fn pair(certificate: &str, key: &str, passphrase: &str) -> Result<Own, String> {
    let text = std::fs::read(key).map_err(|e| format!("{key}: {}", crate::configure::os_text(&e)))?;
    let key = private_key(&text, passphrase).map_err(|why| format!("{key}: {why}"))?;
    Ok((certificates(certificate)?, key))
}

/// The first private key of a PEM file.
fn private_key(text: &[u8], passphrase: &str) -> Result<PrivateKeyDer<'static>, String> {
    const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let shown = String::from_utf8_lossy(text);
    if shown.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "a key with a passphrase must be in PKCS#8 form: openssl pkcs8 -topk8 -in <this file>".to_owned()
        );
    }
    let Some(begin) = shown.find(BEGIN) else {
        return PrivateKeyDer::from_pem_slice(text).map_err(|e| e.to_string());
    };
    let end = shown[begin..].find(END).ok_or("the end of the private key is missing")?;
    if passphrase.is_empty() {
        return Err("the private key needs a passphrase, and none is configured".to_owned());
    }
    let block = &shown[begin..begin + end + END.len()];
    let (_, document) = SecretDocument::from_pem(block).map_err(|e| format!("the private key: {e}"))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|e| format!("the private key: {e}"))?;
    let key = encrypted
        .decrypt(passphrase)
        .map_err(|_| "the passphrase does not open the private key, or its cipher is not known".to_owned())?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn own_certificate(config: &Config) -> Result<Own, String> {
    let (certificate, key) = (config.tls_cert_file.to_str(), config.tls_key_file.to_str());
    if certificate.is_empty() {
        return Err("No tls-cert-file configured!".to_owned());
    }
    if key.is_empty() {
        return Err("No tls-key-file configured!".to_owned());
    }
    let own = pair(&certificate, &key, &config.tls_key_file_pass.to_str())?;
    if !is_valid_now(&own.0[0]) {
        return Err(format!("Server TLS certificate is invalid: {certificate} {NOT_NOW}"));
    }
    Ok(own)
}

/// The certificate for connections this server opens.
fn client_certificate(config: &Config) -> Result<Own, String> {
    let (certificate, key) = (config.tls_client_cert_file.to_str(), config.tls_client_key_file.to_str());
    if certificate.is_empty() && key.is_empty() {
        return own_certificate(config);
    }
    let own = pair(&certificate, &key, &config.tls_client_key_file_pass.to_str())?;
    if !is_valid_now(&own.0[0]) {
        return Err(format!("Client TLS certificate is invalid: {certificate} {NOT_NOW}"));
    }
    Ok(own)
}

const NOT_NOW: &str = "has expired or is not valid yet";

/// The certificates of the authorities that peers' certificates may come from.
fn authorities(config: &Config) -> Result<Vec<CertificateDer<'static>>, String> {
    let (file, dir) = (config.tls_ca_cert_file.to_str(), config.tls_ca_cert_dir.to_str());
    let mut all = if file.is_empty() { Vec::new() } else { certificates(&file)? };
    if !dir.is_empty() {
        let entries =
            std::fs::read_dir(&*dir).map_err(|e| format!("{dir}: {}", crate::configure::os_text(&e)))?;
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            // A directory of authorities may hold other files too.
            all.extend(certificates(&path.display().to_string()).unwrap_or_default());
        }
    }
    Ok(all)
}

fn roots(config: &Config) -> Result<Arc<RootCertStore>, String> {
    let (file, dir) = (config.tls_ca_cert_file.to_str(), config.tls_ca_cert_dir.to_str());
    let mut store = RootCertStore::empty();
    if file.is_empty() && dir.is_empty() {
        if config.tls_auth_clients != TlsAuthClients::No || config.tls_cluster || config.tls_replication {
            return Err("Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, \
                        tls-replication or tls-auth-clients are enabled!"
                .to_owned());
        }
        return Ok(Arc::new(store));
    }
    for certificate in authorities(config)? {
        if !is_valid_now(&certificate) {
            return Err(format!("One or more loaded CA certificates are invalid: one {NOT_NOW}"));
        }
        let added = store.add(certificate);
        if dir.is_empty() {
            added.map_err(|e| format!("{file}: {e}"))?;
        }
    }
    Ok(Arc::new(store))
}

fn versions(config: &Config) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let text = config.tls_protocols.to_str();
    if text.trim().is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let mut versions = Vec::new();
    for word in text.split_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "tlsv1.2" => versions.push(&rustls::version::TLS12),
            "tlsv1.3" => versions.push(&rustls::version::TLS13),
            "tlsv1" | "tlsv1.1" => {
                tracing::warn!("tls-protocols: {word} is too weak and not supported; it is left out");
            }
            _ => return Err(
                "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and \
                             'TLSv1.3'."
                    .to_owned(),
            ),
        }
    }
    if versions.is_empty() {
        return Err("tls-protocols leaves no protocol: TLSv1.2 and TLSv1.3 are supported".to_owned());
    }
    Ok(versions)
}

fn server(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    roots: Arc<RootCertStore>,
    own: Own,
    auth: TlsAuthClients,
) -> Result<ServerConfig, String> {
    let verifier = || {
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let builder = match auth {
            TlsAuthClients::Optional => builder.allow_unauthenticated(),
            TlsAuthClients::Yes | TlsAuthClients::No => builder,
        };
        builder.build().map_err(|e| e.to_string())
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|e| e.to_string())?;
    let builder = match auth {
        TlsAuthClients::No => builder.with_no_client_auth(),
        TlsAuthClients::Yes | TlsAuthClients::Optional => builder.with_client_cert_verifier(verifier()?),
    };
    let mut server = builder.with_single_cert(own.0, own.1).map_err(|e| e.to_string())?;
    server.ignore_client_order = config.tls_prefer_server_ciphers;
    if config.tls_session_caching {
        let size = config.tls_session_cache_size as usize;
        // 0 is "no limit" for the reference server.
        server.session_storage = ServerSessionMemoryCache::new(if size == 0 { 1 << 20 } else { size });
    } else {
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    Ok(server)
}

fn client(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    roots: Arc<RootCertStore>,
) -> Result<ClientConfig, String> {
    let (chain, key) = client_certificate(config)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|e| e.to_string())?;
    let inner = if roots.is_empty() {
        None
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        Some(verifier.build().map_err(|e| e.to_string())?)
    };
    let verifier = AnyName { inner, provider: provider.clone() };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())
}

/// For asking the own server whether it is well (`--healthcheck`): any certificate will do, ours is shown.
///
/// # Errors
/// What is wrong with the configuration.
pub fn client_settings(config: &Config) -> Result<ClientConfig, String> {
    let provider = Arc::new(ciphers::provider(config)?);
    client(config, &provider, &versions(config)?, Arc::new(RootCertStore::empty()))
}

/// Trusts whom the authorities vouch for, whatever the name: nodes are known by addresses, which change.
#[derive(Debug)]
struct AnyName {
    /// None: trusts everybody.
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last: all else is in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// When the files were changed last.
pub fn modified_at(config: &Config) -> Vec<Option<SystemTime>> {
    [
        &config.tls_cert_file,
        &config.tls_key_file,
        &config.tls_client_cert_file,
        &config.tls_client_key_file,
        &config.tls_ca_cert_file,
        &config.tls_ca_cert_dir,
    ]
    .into_iter()
    .map(|path| std::fs::metadata(Path::new(&*path.to_str())).ok()?.modified().ok())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made for this test by `openssl genpkey`, and `openssl pkcs8 -topk8` with the passphrase `secret`.
    const PLAIN: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg98kh8EIsyT8+WUuk\n\
ai6UMdQFN2ogads8O6GbZsqduvuhRANCAARpM71sAPteni0EBnPx1uJv9SRy/zbl\n\
8YoFHMqd54IxiBj5Q5IatCLxiLzJ6Y3g7p2Dc9ozTUnW7//w6Idxifln\n\
-----END PRIVATE KEY-----\n";
    const ENCRYPTED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiQSoROF2um1QICCAAw\n\
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEG8DYPYRmUEz/FD0OmuTKDwEgZAN\n\
GLOvk6xDaGRd5JcApyyVOeASxioUB2jcCa3DXMeW8E/4oo2F2GpPiwvh+Aace8bv\n\
+q0r7oHp6GvD4NPkUrbBsFoBLQwFigXDT/lgcscvHLjFDxfuQWiYB3zaR5ABYq7L\n\
F2pa6yDDpvMtxCeDlMztnL9Vl4veyicD67NVW6Dy/zala15wbuadP+pKkbHUzG4=\n\
-----END ENCRYPTED PRIVATE KEY-----\n";

    #[test]
    fn keys_with_a_passphrase_are_opened() {
        let plain = private_key(PLAIN.as_bytes(), "").expect("a key");
        let file = format!("Something before it.\n{ENCRYPTED}");
        let opened = private_key(file.as_bytes(), "secret").expect("a key");
        assert_eq!(opened.secret_der(), plain.secret_der());
        for (text, passphrase, why) in [
            (ENCRYPTED, "", "needs a passphrase"),
            (ENCRYPTED, "Secret", "does not open"),
            (&ENCRYPTED[..100], "secret", "the end of the private key"),
            ("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "secret", "PKCS#8"),
        ] {
            let error = private_key(text.as_bytes(), passphrase).expect_err("no key");
            assert!(error.contains(why), "{error}");
        }
    }
}
