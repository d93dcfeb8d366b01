//! The files of a certificate and its key, such as `tls.crt` and `tls.key` of a Secret of type
//! `kubernetes.io/tls`: a chain in PEM, its own certificate first, and a key in PEM.

use std::io;
use std::path::{Path, PathBuf};

use rustls::InconsistentKeys::KeyMismatch;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::config::TlsOptions;

/// A chain of certificates has a few KiB.
const MAX: u64 = 1 << 20;

/// Why the files cannot be used. Each says which file it is about.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(PathBuf),
    #[error("{0} holds no private key in PEM that is not encrypted")]
    NoKey(PathBuf),
    #[error("{0} is not in PEM: {1}")]
    NotPem(PathBuf, pem::Error),
    #[error("the certificate in {0} or the key in {1} cannot be used: {2}")]
    Unusable(PathBuf, PathBuf, rustls::Error),
    #[error("the key in {1} is not that of the first certificate in {0}")]
    Mismatch(PathBuf, PathBuf),
}

/// What is in the files.
pub(super) struct Octets {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Octets {
    pub(super) async fn read(options: &TlsOptions) -> Result<Self, FilesError> {
        Ok(Self {
            certificate: read(&options.tls_cert).await?,
            key: read(&options.tls_key).await?,
        })
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.certificate.len().to_be_bytes());
        digest.update(&self.certificate);
        digest.update(&self.key);
        digest.finalize().into()
    }

    /// The files are named in errors.
    pub(super) fn parse(
        &self,
        options: &TlsOptions,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, FilesError> {
        let certificates = CertificateDer::pem_slice_iter(&self.certificate);
        let chain: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|error| FilesError::NotPem(options.tls_cert.clone(), error))?;
        if chain.is_empty() {
            return Err(FilesError::NoCertificate(options.tls_cert.clone()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => FilesError::NoKey(options.tls_key.clone()),
            error => FilesError::NotPem(options.tls_key.clone(), error),
        })?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let (certificate, key) = (options.tls_cert.clone(), options.tls_key.clone());
            match error {
                rustls::Error::InconsistentKeys(KeyMismatch) => {
                    FilesError::Mismatch(certificate, key)
                }
                error => FilesError::Unusable(certificate, key, error),
            }
        })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    let read = async {
        let length = tokio::fs::metadata(path).await?.len();
        if length > MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        tokio::fs::read(path).await
    };
    let error = |error| FilesError::Unreadable(path.to_owned(), error);
    read.await.map_err(error)
}
