//! UPDATE messages of the benchmark's own, with as many names in each as it likes: what the name
//! server takes by itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TsigKey;
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_net::proto::op::{Message, MessageType, OpCode, Query, UpdateMessage as _};
use hickory_net::proto::rr::rdata::{A, TXT, tsig};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TTL: u32 = 60;
const FUDGE_SECONDS: u16 = 300;

/// Messages in flight.
pub const WINDOW: usize = 4;

/// An address and its marker, as the product writes them.
pub struct Write {
    pub hostname: String,
    pub address: Ipv4Addr,
    pub marker: String,
    /// The marker that must be there; `None`: nothing may be there.
    pub former: Option<String>,
}

/// A zone on its primary.
pub struct RawZone {
    server: SocketAddr,
    apex: Name,
    signer: TSigner,
    next_id: u16,
}

impl RawZone {
    pub fn new(server: SocketAddr, apex: &str, key: &TsigKey) -> Result<Self> {
        Ok(Self {
            server,
            apex: absolute(apex)?,
            signer: TSigner::new(
                BASE64_STANDARD.decode(&key.secret)?,
                tsig::TsigAlgorithm::HmacSha256,
                absolute(&key.name)?,
                FUDGE_SECONDS,
            )?,
            next_id: 0,
        })
    }

    /// Writes all over one connection, `batch` names to a message and `window` messages in flight.
    pub async fn write(&mut self, writes: &[Write], batch: usize, window: usize) -> Result<()> {
        let mut stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut in_flight = 0;
        for some in writes.chunks(batch) {
            if in_flight == window {
                reply(&mut stream).await?;
                in_flight -= 1;
            }
            let wire = self.message(some)?;
            stream.write_all(&wire).await?;
            in_flight += 1;
        }
        for _ in 0..in_flight {
            reply(&mut stream).await?;
        }
        Ok(())
    }

    /// The prerequisites and updates that the product sends for the same.
    fn message(&mut self, writes: &[Write]) -> Result<Vec<u8>> {
        self.next_id = self.next_id.wrapping_add(1);
        let mut message = Message::new(self.next_id, MessageType::Query, OpCode::Update);
        message.add_zone(Query::query(self.apex.clone(), RecordType::SOA));
        for write in writes {
            let name = absolute(&write.hostname)?;
            let marker = absolute(&format!("_dynhost.{}", write.hostname))?;
            let absent = |name, rr_type| without_data(name, rr_type, DNSClass::NONE);
            match &write.former {
                Some(former) => {
                    message.add_pre_requisite(text(&marker, 0, former));
                }
                None => {
                    message.add_pre_requisite(absent(&marker, RecordType::TXT));
                    message.add_pre_requisite(absent(&marker, RecordType::CNAME));
                    message.add_pre_requisite(absent(&name, RecordType::A));
                    message.add_pre_requisite(absent(&name, RecordType::AAAA));
                }
            }
            message.add_pre_requisite(absent(&name, RecordType::CNAME));
            message.add_update(without_data(&name, RecordType::A, DNSClass::ANY));
            let address = RData::A(A(write.address));
            message.add_update(Record::from_rdata(name, TTL, address));
            message.add_update(without_data(&marker, RecordType::TXT, DNSClass::ANY));
            message.add_update(text(&marker, TTL, &write.marker));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // The reply's signature is not checked: the server is our own child on loopback.
        let _verifier = message.finalize(&self.signer, now)?;
        let wire = message.to_vec()?;
        let mut framed = u16::try_from(wire.len())?.to_be_bytes().to_vec();
        framed.extend(wire);
        Ok(framed)
    }
}

async fn reply(stream: &mut TcpStream) -> Result<()> {
    const RCODE: u8 = 0x0f;
    // As the product does, or the server's replies would wait for ours.
    SockRef::from(&*stream).set_tcp_quickack(true)?;
    let mut wire = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut wire).await?;
    let rcode = wire.get(3).map(|flags| flags & RCODE);
    ensure!(rcode == Some(0), "an UPDATE was answered with {rcode:?}");
    Ok(())
}

fn absolute(name: &str) -> Result<Name> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}

fn text(name: &Name, ttl: u32, text: &str) -> Record {
    Record::from_rdata(
        name.clone(),
        ttl,
        RData::TXT(TXT::new(vec![text.to_owned()])),
    )
}

fn without_data(name: &Name, rr_type: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, rr_type);
    record.dns_class = class;
    record.into_record_of_rdata()
}
