//! TLS by the endpoint itself, with certificates that are replaced as kubelet does it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dynhost_e2e::{
    Operator, Scratch, Stack, ZoneOptions, await_condition, debian_program, free_port, http,
    operator_binary, scratch::write_private, stack::LIMIT,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    SOURCE, operator_arguments,
    program::{program, run},
    stack,
};

const NAME: &str = "localhost";

/// Who signs certificates.
struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key_pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "dynhost tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self) -> Identity {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            pem: certificate.pem(),
            certificate: certificate.into(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// A Secret of type `kubernetes.io/tls` as kubelet mounts it: the files are links into `..data`,
/// which is a link that is replaced as a whole.
struct Mounted {
    folder: Scratch,
    version: AtomicUsize,
}

impl Mounted {
    fn new(certificate: &str, key: &str) -> Self {
        let mounted = Self {
            folder: Scratch::new("tls").unwrap(),
            version: AtomicUsize::new(0),
        };
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mounted.path(name)).unwrap();
        }
        mounted.replace(certificate, key);
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replace(&self, certificate: &str, key: &str) {
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        let data = format!("..version-{version}");
        fs::create_dir(self.path(&data)).unwrap();
        write_private(&self.path(&data).join("tls.crt"), certificate).unwrap();
        write_private(&self.path(&data).join("tls.key"), key).unwrap();
        symlink(&data, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }

    fn arguments(&self, listen: SocketAddr) -> Vec<String> {
        let path = |name| self.path(name).to_str().unwrap().to_owned();
        let (listen, certificate, key) = (listen.to_string(), path("tls.crt"), path("tls.key"));
        let arguments = [
            "--no-controller",
            "--tls-listen",
            &listen,
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
            "--tls-only",
        ];
        arguments.map(str::to_owned).into()
    }
}

/// A further endpoint of the stack, that serves TLS only, and a port of its own for that.
async fn start(stack: &Stack, mounted: &Mounted) -> (Operator, SocketAddr) {
    let address = (Ipv4Addr::LOCALHOST, free_port().unwrap()).into();
    let arguments = [operator_arguments(), mounted.arguments(address)].concat();
    let kubeconfig = stack.control_plane.kubeconfig();
    let operator = Operator::start(&kubeconfig, &arguments).await.unwrap();
    (operator, address)
}

#[tokio::test]
async fn real_clients_update_by_tls_and_there_is_no_plain_port() -> Result<()> {
    let stack = stack().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = zone.host("home");
    let key = &stack.create_host(&host).await?;
    let name = &host.spec.hostname;
    let authority = Authority::new();
    let identity = authority.sign();
    let mounted = Mounted::new(&identity.pem, &identity.key_pem);
    let (operator, address) = start(stack, &mounted).await;
    ensure!(
        TcpStream::connect(operator.update_address()).await.is_err(),
        "it listens"
    );

    let scratch = Scratch::new("tls-clients")?;
    let home = scratch.path();
    let file = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let (ca, config) = (file("ca.pem"), file("config"));
    write_private(ca.as_ref(), &authority.pem)?;
    let server = format!("{NAME}:{}", address.port());
    let url =
        |last: u8| format!("https://{server}/nic/update?hostname={name}&myip=198.51.100.{last}");
    let user = format!("router:{key}");

    let curl = debian_program("curl").await?;
    for (last, arguments) in [
        (1, &[][..]),
        (2, &["--tls-max", "1.2"]),
        (3, &["--tlsv1.3"]),
        (4, &["-0"]),
        (5, &["--http2"]),
    ] {
        let mut command = program(&curl, home);
        command
            .args(["-fsS", "--cacert", &ca, "-u", &user])
            .args(arguments)
            .arg(url(last));
        let ran = run(&mut command).await;
        let expected = format!("good 198.51.100.{last}");
        ensure!(ran.said == expected, "curl {arguments:?}: {ran:?}");
    }
    // Whoever does not trust the certificate sends nothing.
    let mut command = program(&curl, home);
    let ran = run(command.args(["-fsS", "-u", &user]).arg(url(6))).await;
    ensure!(
        ran.status == Some(60),
        "curl without the authority: {ran:?}"
    );

    let script = "import base64, ssl, sys, urllib.request as r\n\
        q = r.Request(sys.argv[1], headers={'Authorization': 'Basic ' + base64.b64encode(sys.argv[2].encode()).decode()})\n\
        print(r.urlopen(q, context=ssl.create_default_context(cafile=sys.argv[3])).read().decode())";
    let mut command = program("python3", home);
    command.args(["-c", script, &url(7), &user, &ca]);
    let ran = run(&mut command).await;
    ensure!(ran.said == "good 198.51.100.7\n", "python: {ran:?}");

    let text = format!(
        "ca-trust-file = \"{ca}\"\ncustom {name} {{\nssl = true\nddns-server = \"{server}\"\n\
         ddns-path = \"/nic/update?hostname=%h&myip=%i\"\nusername = router\npassword = {key}\n\
         hostname = {name}\ncheckip-command = \"echo 198.51.100.8\"\n}}\n"
    );
    write_private(config.as_ref(), &text)?;
    let mut command = program(debian_program("inadyn").await?, home);
    command.args(["-1", "-n", "--force", "--no-pidfile", "-f", &config]);
    command.arg(format!("--cache-dir={}", home.display()));
    let ran = run(&mut command).await;
    ensure!(ran.status == Some(0), "inadyn: {ran:?}");
    let stored = super::observed(stack, &host).await?;
    ensure!(
        stored["ipv4"]["address"] == "198.51.100.8",
        "inadyn: {stored}\n{}",
        ran.said
    );
    Ok(())
}

/// A client that trusts the authority and notes what it is shown.
#[derive(Clone)]
struct Client {
    connector: TlsConnector,
    address: SocketAddr,
}

impl Client {
    fn new(authority: &Authority, address: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            connector: TlsConnector::from(Arc::new(config)),
            address,
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(NAME)?;
        Ok(self.connector.connect(name, stream).await?)
    }

    /// Connects, asks once, and returns the certificate that it was shown.
    async fn call(&self) -> Result<CertificateDer<'static>> {
        let mut stream = self.connect().await?;
        ask(&mut stream).await?;
        shown(&stream).context("no certificate")
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    Some(certificates.first()?.clone().into_owned())
}

/// Asks for the address that a trusted proxy tells of: it is told so by TLS, too.
async fn ask(stream: &mut TlsStream<TcpStream>) -> Result<()> {
    let request = format!("GET /ip HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {SOURCE}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    while !answer.ends_with(&format!("\r\n\r\n{SOURCE}\n")) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "the connection ends after {answer:?}");
        answer += str::from_utf8(&buffer[..count])?;
    }
    Ok(())
}

async fn await_reload(operator: &Operator, result: &str) -> Result<()> {
    let line = format!("dynhost_tls_reloads_total{{result=\"{result}\"}} 1\n");
    await_condition(&line, LIMIT, async || {
        let page = http::get(operator.admin_address(), "/metrics", None)
            .await?
            .text();
        Ok(page.contains(&line).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_and_no_connection_fails() -> Result<()> {
    /// Connections that each client makes before the certificate is replaced, at least, and that it
    /// is shown the new one on.
    const BEFORE: usize = 5;
    const AFTER: usize = 20;
    const CLIENTS: usize = 4;
    let stack = stack().await?;
    let authority = Authority::new();
    let (first, second) = (authority.sign(), authority.sign());
    let mounted = Mounted::new(&first.pem, &first.key_pem);
    let (operator, address) = start(stack, &mounted).await;
    let client = Client::new(&authority, address);

    let mut kept = client.connect().await?;
    ask(&mut kept).await?;
    let calls = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, calls) = (client.clone(), calls.clone());
        let (old, new) = (first.certificate.clone(), second.certificate.clone());
        clients.spawn(async move {
            let mut shown_new = 0;
            while shown_new < AFTER {
                let shown = client.call().await?;
                calls.fetch_add(1, Ordering::SeqCst);
                ensure!(
                    shown == new || (shown == old && shown_new == 0),
                    "an older one again"
                );
                shown_new += usize::from(shown == new);
            }
            Ok(())
        });
    }
    await_condition("every client has called", LIMIT, async || {
        Ok((calls.load(Ordering::SeqCst) >= CLIENTS * BEFORE).then_some(()))
    })
    .await?;
    mounted.replace(&second.pem, &second.key_pem);
    let all = async {
        while let Some(client) = clients.join_next().await {
            client??;
        }
        anyhow::Ok(())
    };
    timeout(LIMIT, all)
        .await
        .context("the new one is not shown")??;
    await_reload(&operator, "loaded").await?;
    ask(&mut kept).await.context("a connection from before")?;

    // A key that is not the certificate's.
    mounted.replace(&first.pem, &second.key_pem);
    await_reload(&operator, "refused").await?;
    ensure!(client.call().await? == second.certificate);
    let log = operator.log_tail(20);
    let told = log.matches("is not that of the first certificate").count();
    ensure!(told == 1, "told {told} times:\n{log}");
    Ok(())
}

#[tokio::test]
async fn files_that_cannot_be_used_are_the_end_of_the_start() -> Result<()> {
    let stack = stack().await?;
    let authority = Authority::new();
    let (identity, other) = (authority.sign(), authority.sign());
    let check = async |mounted: &Mounted, expected: &str| {
        let listen = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let mut command = Command::new(operator_binary().await?);
        command
            .args(["run", "--kubeconfig"])
            .arg(stack.control_plane.kubeconfig())
            .args(mounted.arguments(listen))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(Duration::from_secs(30), command.output()).await??;
        let said = String::from_utf8(output.stderr)?;
        let expected = expected.replace("FOLDER", &mounted.folder.path().display().to_string());
        ensure!(
            output.status.code() == Some(1) && said.contains(&expected),
            "{said}"
        );
        anyhow::Ok(())
    };
    let mismatched = Mounted::new(&identity.pem, &other.key_pem);
    let expected =
        "the key in FOLDER/tls.key is not that of the first certificate in FOLDER/tls.crt";
    check(&mismatched, expected).await?;
    let missing = Mounted::new(&identity.pem, &identity.key_pem);
    fs::remove_file(Path::new(&missing.path("..data/tls.key")))?;
    check(&missing, "FOLDER/tls.key cannot be read: No such file").await
}
