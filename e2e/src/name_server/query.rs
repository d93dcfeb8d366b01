//! Questions to the authoritative server, over TCP, with no resolver or cache between.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use hickory_net::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, Record, RecordType, TSigner, rdata::tsig},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::tsig::TsigKey;

const LIMIT: Duration = Duration::from_secs(5);

/// What the server said about one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `NoError` with empty `rdata` means that the name exists without this type.
    pub rcode: ResponseCode,
    /// In presentation form, sorted.
    pub rdata: Vec<String>,
    /// The RRset's TTL in seconds, where there is one.
    pub ttl: Option<u32>,
}

/// Asks for one RRset. Records of other types (a CNAME in the way) are left out.
pub(crate) async fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> Result<Answer> {
    let wire = question(name, record_type)?.to_vec()?;
    let mut stream = connect(server, &wire).await?;
    let message = read_message(&mut stream).await?;
    let records: Vec<&Record> = message
        .answers
        .iter()
        .filter(|record| record.record_type() == record_type)
        .collect();
    let mut rdata: Vec<String> = records
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    rdata.sort();
    Ok(Answer {
        rcode: message.metadata.response_code,
        rdata,
        ttl: records.first().map(|record| record.ttl),
    })
}

/// Transfers a zone (AXFR, RFC 5936): every record, the SOA once.
pub(super) async fn transfer(server: SocketAddr, apex: &str, key: &TsigKey) -> Result<Vec<Record>> {
    const FUDGE_SECONDS: u16 = 300;
    let signer = TSigner::new(
        BASE64_STANDARD.decode(&key.secret)?,
        tsig::TsigAlgorithm::HmacSha256,
        absolute(&key.name)?,
        FUDGE_SECONDS,
    )?;
    let mut request = question(apex, RecordType::AXFR)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    // The answer's signature is not checked: the server is our own child on loopback.
    let _verifier = request.finalize(&signer, now)?;
    let mut stream = connect(server, &request.to_vec()?).await?;
    let mut records = Vec::new();
    // The SOA comes first and last.
    let mut soas = 0;
    while soas < 2 {
        let message = read_message(&mut stream).await?;
        let rcode = message.metadata.response_code;
        ensure!(
            rcode == ResponseCode::NoError,
            "transfer of {apex}: {rcode}"
        );
        ensure!(
            !message.answers.is_empty(),
            "transfer of {apex}: no records"
        );
        for record in message.answers {
            if record.record_type() == RecordType::SOA {
                soas += 1;
            }
            if soas < 2 {
                records.push(record);
            }
        }
    }
    Ok(records)
}

fn question(name: &str, record_type: RecordType) -> Result<Message> {
    let mut message = Message::query();
    message.add_query(Query::query(absolute(name)?, record_type));
    Ok(message)
}

fn absolute(name: &str) -> Result<Name> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}

async fn connect(server: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    timeout(LIMIT, async {
        let mut stream = TcpStream::connect(server).await?;
        let mut framed = u16::try_from(request.len())?.to_be_bytes().to_vec();
        framed.extend(request);
        stream.write_all(&framed).await?;
        Ok(stream)
    })
    .await
    .with_context(|| format!("connecting to {server} took over {LIMIT:?}"))?
}

async fn read_message(stream: &mut TcpStream) -> Result<Message> {
    let read = async {
        let mut wire = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut wire).await?;
        Ok::<_, anyhow::Error>(Message::from_vec(&wire)?)
    };
    match timeout(LIMIT, read).await {
        Ok(message) => message,
        Err(_) => bail!("the name server did not answer within {LIMIT:?}"),
    }
}
