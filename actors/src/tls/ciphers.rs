//! `tls-ciphers` and `tls-ciphersuites`: names of OpenSSL to what rustls has.

use skuld::config::Config;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::{cipher_suite as suite, default_provider};
use tokio_rustls::rustls::{CipherSuite, SupportedCipherSuite};

/// Suites of TLS 1.2 by OpenSSL's names.
const TLS12: [(&str, SupportedCipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Suites of TLS 1.3.
const TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// Words of OpenSSL's language that stand for many suites: all there are here are meant by each of them.
const GROUPS: [&str; 6] = ["ALL", "DEFAULT", "HIGH", "ECDHE", "SECURE", "AESGCM"];

/// The cryptography that the configuration allows.
///
/// # Errors
/// A list that leaves nothing.
pub fn provider(config: &Config) -> Result<CryptoProvider, String> {
    let twelve = chosen("tls-ciphers", &config.tls_ciphers.to_str(), &TLS12)?;
    let thirteen = chosen("tls-ciphersuites", &config.tls_ciphersuites.to_str(), &TLS13)?;
    Ok(CryptoProvider { cipher_suites: [thirteen, twelve].concat(), ..default_provider() })
}

/// The suites that a list names, in its order. What is not there is told in the log and left out.
fn chosen(
    directive: &str,
    list: &str,
    known: &[(&str, SupportedCipherSuite)],
) -> Result<Vec<SupportedCipherSuite>, String> {
    let all = || known.iter().map(|(_, suite)| *suite).collect::<Vec<_>>();
    if list.trim().is_empty() {
        return Ok(all());
    }
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    let has = |suites: &[SupportedCipherSuite], name: CipherSuite| suites.iter().any(|s| s.suite() == name);
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        match (found, word.strip_prefix(['!', '-'])) {
            (Some((_, suite)), _) if !has(&suites, suite.suite()) => suites.push(*suite),
            (Some(_), _) => {}
            (None, Some(excluded)) => {
                let excluded = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(excluded));
                // Weak kinds (aNULL, MD5 ...) are not there to begin with.
                suites.retain(|s| excluded.is_none_or(|(_, gone)| s.suite() != gone.suite()));
            }
            (None, None) if GROUPS.iter().any(|group| group.eq_ignore_ascii_case(word)) => {
                for suite in all() {
                    if !has(&suites, suite.suite()) {
                        suites.push(suite);
                    }
                }
            }
            (None, None) => tracing::warn!("{directive}: {word} is not supported; it is left out"),
        }
    }
    if suites.is_empty() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return Err(format!("{directive}: none of these is supported, which are: {}", names.join(" ")));
    }
    Ok(suites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_their_order() {
        let names = |list: &str| -> Vec<CipherSuite> {
            chosen("tls-ciphers", list, &TLS12)
                .expect("some")
                .iter()
                .map(SupportedCipherSuite::suite)
                .collect()
        };
        assert_eq!(names("").len(), 6);
        assert_eq!(names("DEFAULT:!MD5").len(), 6);
        assert_eq!(names("HIGH:!ECDHE-RSA-AES128-GCM-SHA256").len(), 5);
        let two = names("ECDHE-RSA-CHACHA20-POLY1305:nonsense:ecdhe-rsa-aes128-gcm-sha256");
        assert_eq!(
            two,
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            ]
        );
        assert!(chosen("tls-ciphers", "RC4-MD5", &TLS12).is_err());
    }
}
