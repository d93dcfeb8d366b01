//! TLS in the pod: the certificate and key come from mounted files, and are followed as they change.

mod expiry;
mod files;

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::{Either, select};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsOptions;
use crate::metrics::Metrics;
use expiry::not_after;
use files::{FilesError, Octets};

/// How often the files are looked at. A certificate is replaced weeks before its end, and reading two
/// small files costs nothing. Notifications would: a mounted Secret is replaced by moving a symbolic
/// link above the files, which a watch on the files does not see.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What the endpoint shows its clients.
pub struct Tls {
    options: TlsOptions,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
    in_use: Arc<InUse>,
    metrics: Arc<Metrics>,
    /// Of the files whose certificate is in use.
    digest: [u8; 32],
    /// Why what is in the files now cannot be used, and whether that was told.
    refused: Option<(String, bool)>,
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// Where one of them is missing, is not what it should be, or they do not belong together.
    pub async fn load(options: &TlsOptions, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let octets = Octets::read(options).await?;
        let key = octets.parse(options, &provider)?;
        let expiry = not_after(&key);
        let in_use = Arc::new(InUse(RwLock::new(Arc::new(key))));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(in_use.clone());
        // `curl -0` offers the second one alone.
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // Clients call minutes to days apart, and perhaps another replica: nothing is kept for them.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let tls = Self {
            options: options.clone(),
            provider,
            config: Arc::new(config),
            in_use,
            metrics,
            digest: octets.digest(),
            refused: None,
        };
        tls.tell_of(expiry, "TLS is served with this certificate");
        Ok(tls)
    }

    /// For the connections of clients.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// Follows the files until `stop`: connections that are accepted after a change are shown the new
    /// certificate. What cannot be used is told of, and the former one is kept.
    pub async fn follow_files(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        while let Either::Right(_) = select(&mut stop, pin!(sleep(LOOK_EVERY))).await {
            self.look().await;
        }
    }

    async fn look(&mut self) {
        match self.read_if_changed().await {
            Ok(None) => self.refused = None,
            Ok(Some((digest, key))) => {
                let expiry = not_after(&key);
                self.in_use.replace(key);
                self.digest = digest;
                self.refused = None;
                self.metrics.count_tls_reload("loaded");
                self.tell_of(expiry, "TLS goes on with another certificate");
            }
            Err(error) => {
                if self.is_to_be_told(&error) {
                    self.metrics.count_tls_reload("refused");
                    tracing::warn!(%error, "TLS goes on with the former certificate");
                }
            }
        }
    }

    async fn read_if_changed(&self) -> Result<Option<([u8; 32], CertifiedKey)>, FilesError> {
        let octets = Octets::read(&self.options).await?;
        let digest = octets.digest();
        if digest == self.digest {
            return Ok(None);
        }
        let key = octets.parse(&self.options, &self.provider)?;
        Ok(Some((digest, key)))
    }

    /// At the second look that finds the same, since one file may be new and the other not be yet;
    /// and then never again.
    fn is_to_be_told(&mut self, error: &FilesError) -> bool {
        let error = error.to_string();
        match &mut self.refused {
            Some((same, told)) if *same == error => !std::mem::replace(told, true),
            _ => {
                self.refused = Some((error, false));
                false
            }
        }
    }

    fn tell_of(&self, expiry: Option<Timestamp>, what: &str) {
        let seconds = expiry.map_or(0, Timestamp::as_second);
        self.metrics.set_tls_certificate_expiry(seconds);
        let file = self.options.tls_cert.display();
        let expiry = expiry.map(tracing::field::display);
        tracing::info!(%file, expiry, "{what}");
    }
}

/// The certificate that handshakes are answered with.
#[derive(Debug)]
struct InUse(RwLock<Arc<CertifiedKey>>);

impl InUse {
    fn replace(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(key.clone())
    }
}

#[cfg(test)]
mod tests;
