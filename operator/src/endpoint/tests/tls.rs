//! TLS, and what the limits make of it.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connections::{Client, SHORT, connect_from, generous};
use super::*;
use crate::config::{Limits, TlsOptions};
use crate::endpoint::tls::Tls;

const NAME: &str = "updates.example.org";
const REQUEST: &str = "GET /ip HTTP/1.1\r\nHost: x\r\n\r\n";

/// A self-signed certificate and its key.
pub(in crate::endpoint) struct Identity {
    pub(in crate::endpoint) certificate: CertificateDer<'static>,
    pub(in crate::endpoint) certificate_pem: String,
    pub(in crate::endpoint) key_pem: String,
}

impl Identity {
    /// Valid until the end of this year.
    pub(in crate::endpoint) fn until(year: i32) -> Self {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.into(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// A folder with `tls.crt` and `tls.key`, as a mounted Secret is.
pub(in crate::endpoint) struct Files {
    folder: TempDir,
}

impl Files {
    pub(in crate::endpoint) fn new(certificate: &str, key: &str) -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
        };
        files.write("tls.crt", certificate);
        files.write("tls.key", key);
        files
    }

    pub(in crate::endpoint) fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.folder.path().join(name), contents).unwrap();
    }

    pub(in crate::endpoint) fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    pub(in crate::endpoint) fn options(&self) -> TlsOptions {
        TlsOptions {
            tls_listen: "127.0.0.1:0".parse().unwrap(),
            tls_cert: self.folder.path().join("tls.crt"),
            tls_key: self.folder.path().join("tls.key"),
            tls_only: false,
        }
    }
}

/// An endpoint with a TLS port, and a client that trusts its certificate.
struct Encrypted {
    fixture: Fixture,
    identity: Identity,
}

impl Encrypted {
    async fn limited(limits: Limits) -> Self {
        Self::with(EndpointOptions {
            limits,
            ..EndpointOptions::default()
        })
        .await
    }

    async fn with(options: EndpointOptions) -> Self {
        let identity = Identity::until(2049);
        let files = Files::new(&identity.certificate_pem, &identity.key_pem);
        let tls = Tls::load(&files.options(), Arc::default()).await.unwrap();
        let synced = Freshness::just_synced();
        Self {
            fixture: Fixture::with_tls(synced, options, Some(tls.acceptor())).await,
            identity,
        }
    }

    /// A TCP connection from 127.0.0.`source` to the TLS port.
    async fn connect(&self, source: u8) -> Client {
        Client(connect_from(source, self.fixture.tls_address).await)
    }

    /// Shakes hands on it.
    async fn encrypt(
        &self,
        Client(stream): Client,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let config = client(&self.identity.certificate, &[&TLS13], &[]);
        Ok(Client(shake_hands(config, stream).await?))
    }

    async fn connect_encrypted(&self, source: u8) -> Client<TlsStream<TcpStream>> {
        self.encrypt(self.connect(source).await).await.unwrap()
    }
}

fn client(
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn shake_hands(
    config: ClientConfig,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(NAME).unwrap();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(LIMIT, handshake).await.unwrap()
}

/// The first record of a handshake, without what is in it.
const HELLO_HEAD: &str = "\x16\x03\x01\x01\x00";

#[tokio::test]
async fn both_versions_are_spoken_and_no_protocol_but_http_1() {
    let endpoint = Encrypted::limited(generous()).await;
    let check = async |version, alpn: &[&str], expected: Option<&str>| {
        let Client(stream) = endpoint.connect(1).await;
        let config = client(&endpoint.identity.certificate, &[version], alpn);
        let Ok(stream) = shake_hands(config, stream).await else {
            assert_eq!(expected, None, "{version:?} {alpn:?}");
            return;
        };
        let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
        assert_eq!(
            Some(agreed),
            expected.map(str::as_bytes),
            "{version:?} {alpn:?}"
        );
        let mut client = Client(stream);
        assert!(client.is_served().await && client.is_served().await);
    };
    for version in [&TLS12, &TLS13] {
        check(version, &[], Some("")).await;
        check(version, &["h2", "http/1.1"], Some("http/1.1")).await;
        check(version, &["http/1.0"], Some("http/1.0")).await;
        check(version, &["h2"], None).await;
    }
}

#[tokio::test]
async fn a_handshake_has_the_time_of_the_first_head() {
    let endpoint = Encrypted::limited(Limits {
        header_timeout: SHORT,
        ..generous()
    })
    .await;
    let mut silent = endpoint.connect(1).await;
    let mut partial = endpoint.connect(1).await;
    partial.send(HELLO_HEAD).await;
    let mut done = endpoint.connect_encrypted(1).await;
    let mut begun = endpoint.connect_encrypted(1).await;
    begun.send("GET /ip HTTP/1.1\r\n").await;
    let mut served = endpoint.connect_encrypted(1).await;
    assert!(served.is_served().await);
    for client in [&mut silent, &mut partial] {
        assert!(client.is_closed().await);
    }
    for client in [&mut done, &mut begun] {
        assert!(client.is_closed().await);
    }
    assert_eq!(endpoint.fixture.closed(), ["header_timeout 4"]);
    assert!(served.is_served().await, "this limit is not for idle ones");
}

#[tokio::test]
async fn half_a_hello_takes_no_buffers_and_a_whole_one_is_one_of_those_that_may() {
    let endpoint = Encrypted::limited(Limits {
        max_active_connections: 1,
        ..generous()
    })
    .await;
    let mut served = endpoint.connect_encrypted(1).await;
    assert!(served.is_served().await);
    let mut partial = endpoint.connect(2).await;
    partial.send(HELLO_HEAD).await;
    // It has come by now, or comes later than this.
    assert!(served.is_served().await);
    let mut next = endpoint.connect_encrypted(3).await;
    assert!(served.is_closed().await);
    assert!(next.is_served().await);
    let busy = endpoint.fixture.connect_busy(4).await;
    assert!(next.is_closed().await);
    assert!(endpoint.encrypt(endpoint.connect(3).await).await.is_err());
    let closed = ["active_displaced 2", "active_refused 1"];
    assert_eq!(endpoint.fixture.closed(), closed);
    endpoint.fixture.end_of_busy(busy).await;
    assert!(endpoint.connect_encrypted(3).await.is_served().await);
}

#[tokio::test]
async fn connections_with_tls_and_without_count_together() {
    let endpoint = Encrypted::limited(Limits {
        max_connections: 3,
        max_connections_per_source: 2,
        ..generous()
    })
    .await;
    let mut first = endpoint.connect(1).await;
    let mut second = endpoint.connect_encrypted(1).await;
    let busy = endpoint.fixture.connect_busy(1).await;
    assert!(first.is_closed().await);
    let mut other = endpoint.connect_encrypted(2).await;
    let mut third = endpoint.connect_encrypted(3).await;
    assert!(second.is_closed().await);
    assert!(other.is_served().await && third.is_served().await);
    assert_eq!(
        endpoint.fixture.closed(),
        ["displaced 1", "source_displaced 1"]
    );
    endpoint.fixture.end_of_busy(busy).await;
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_the_handshake() {
    let endpoint = Encrypted::with(EndpointOptions {
        trusted_proxies: vec!["127.0.0.2".parse().unwrap()],
        proxy_protocol: true,
        limits: Limits {
            max_connections_per_source: 1,
            ..generous()
        },
        ..EndpointOptions::default()
    })
    .await;
    let announced = async |header: &str| {
        let mut client = endpoint.connect(2).await;
        client.send(header).await;
        let mut client = endpoint.encrypt(client).await.ok()?;
        client.send(REQUEST).await;
        let answer = client.answer().await;
        Some((client, answer))
    };
    const HEADER: &str = "PROXY TCP4 9.9.9.9 192.0.2.1 4711 443\r\n";
    let (mut first, answer) = announced(HEADER).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 200 OK 9.9.9.9\n");
    // The shares of sources are those of who is announced.
    let (_second, _) = announced(HEADER).await.unwrap();
    assert!(first.is_closed().await);
    assert!(announced("").await.is_none(), "a trusted peer must say it");
    let closed = ["proxy_header 1", "source_displaced 1"];
    assert_eq!(endpoint.fixture.closed(), closed);
    // Another one must not, inside or outside.
    let mut other = endpoint.connect(3).await;
    other.send(HEADER).await;
    assert!(other.answer().await.starts_with("HTTP/1.1 400"));
    let mut other = endpoint.connect_encrypted(3).await;
    other.send(HEADER).await;
    other.send(REQUEST).await;
    assert!(other.answer().await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so() {
    let endpoint = Encrypted::limited(generous()).await;
    let mut plain = endpoint.connect(1).await;
    plain.send(REQUEST).await;
    let told = "HTTP/1.1 400 Bad Request this port speaks TLS: use https\n";
    assert_eq!(plain.answer().await, told);
    let mut garbled = endpoint.connect(1).await;
    garbled.send("\x16\x03\x01\x00\x04\x01\x00\x00\x00").await;
    let mut alert = Vec::new();
    let read = garbled.0.read_to_end(&mut alert);
    tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
    assert_eq!(alert[..2], [21, 3], "an alert");
    assert_eq!(endpoint.fixture.closed(), ["tls_handshake 2"]);
}

#[tokio::test]
async fn handshakes_have_a_budget_of_their_source() {
    let endpoint = Encrypted::limited(Limits {
        source_rate: std::num::NonZeroU32::MIN,
        max_connections_per_source: 4000,
        ..generous()
    })
    .await;
    // 500 at once, and 50 more each second.
    let refused = async {
        while !endpoint
            .fixture
            .closed()
            .iter()
            .any(|line| line.starts_with("tls_rate "))
        {
            endpoint.connect(1).await.send("\x16\x03\x01\x00\x00").await;
        }
    };
    tokio::time::timeout(LIMIT * 6, refused).await.unwrap();
    assert!(endpoint.connect_encrypted(2).await.is_served().await);
}

#[tokio::test]
async fn at_the_end_only_requests_under_way_are_finished() {
    let endpoint = Encrypted::limited(generous()).await;
    let mut silent = endpoint.connect(1).await;
    let mut idle = endpoint.connect_encrypted(1).await;
    assert!(idle.is_served().await);
    drop(endpoint.fixture.stop);
    assert!(silent.is_closed().await);
    assert!(idle.is_closed().await);
}
