//! PURE: the DNS messages that are sent, from plain values.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_net::proto::ProtoError;
use hickory_net::proto::op::{Message, MessageType, OpCode, Query, UpdateMessage};
use hickory_net::proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::tsig::{Signed, TsigKey};
use crate::name::{Fqdn, RecordName};
use crate::record::change::{Basis, HostChange, NameChange, Records, RrsetChange};
use crate::record::marker::{Marker, marker_name};

/// Why a message cannot be put on the wire. No server has seen it; sending it again is no use.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A name over 255 octets on the wire: the marker's, of a host of more than 244 octets.
    #[error("{0} is too long for a domain name")]
    Name(String),
    /// Over the 65,535 octets of RFC 1035 section 4.2.2. It must not be sent cut short: servers
    /// apply what is left and answer NOERROR.
    #[error("the message is over 65,535 octets")]
    TooLarge,
    #[error("the message cannot be encoded: {0}")]
    Message(#[from] ProtoError),
}

/// The UPDATE message for these hosts in the zone `apex`, which have no name in common.
///
/// RFC 2136 section 3.2: a server applies all of it or, where a prerequisite does not hold,
/// nothing of it.
pub fn update(id: u16, apex: &Fqdn, changes: &[HostChange]) -> Result<Message, EncodeError> {
    let mut message = probe(id, apex)?;
    for change in changes {
        for name in &change.names {
            let rrsets = NameRrsets::new(name, change.ttl)?;
            for prerequisite in rrsets.prerequisites()? {
                message.add_pre_requisite(prerequisite);
            }
            for update in rrsets.updates()? {
                message.add_update(update);
            }
        }
    }
    Ok(message)
}

/// An UPDATE message with neither prerequisites nor updates: a server that answers NOERROR holds
/// the zone, takes updates of it, and takes our key.
///
/// RFC 2136 section 2.3: the zone section names the zone by its SOA.
pub fn probe(id: u16, apex: &Fqdn) -> Result<Message, EncodeError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.add_zone(Query::query(wire_name(apex.as_str())?, RecordType::SOA));
    Ok(message)
}

/// The query for the SOA record of the zone, for [`super::reply::serial`].
pub fn soa(id: u16, apex: &Fqdn) -> Result<Message, EncodeError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(wire_name(apex.as_str())?, RecordType::SOA));
    Ok(message)
}

/// The queries that read one name back, for [`super::reply::found`]. Their ids count up from
/// `first_id`.
pub fn queries(first_id: u16, name: &RecordName) -> Result<[Message; 4], EncodeError> {
    let marker = wire_name(&marker_name(name))?;
    let name = wire_name(name.as_str())?;
    let mut id = first_id;
    Ok([
        (&name, RecordType::A),
        (&name, RecordType::AAAA),
        (&name, RecordType::CNAME),
        (&marker, RecordType::TXT),
    ]
    .map(|(name, rr_type)| {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name.clone(), rr_type));
        id = id.wrapping_add(1);
        message
    }))
}

/// Signs and encodes `message`; `now` is in seconds since the epoch.
pub fn encode(message: Message, key: &TsigKey, now: u64) -> Result<Signed, EncodeError> {
    /// The header's TC bit, which hickory sets where it has left records out.
    const TRUNCATED: u8 = 0x02;
    let signed = key.sign(message, now)?;
    let is_truncated = signed
        .wire
        .get(2)
        .is_none_or(|flags| flags & TRUNCATED != 0);
    if is_truncated || signed.wire.len() > usize::from(u16::MAX) {
        return Err(EncodeError::TooLarge);
    }
    Ok(signed)
}

pub(super) fn wire_name(name: &str) -> Result<Name, EncodeError> {
    let mut wire = Name::from_ascii(name).map_err(|_| EncodeError::Name(name.to_owned()))?;
    wire.set_fqdn(true);
    Ok(wire)
}

/// A change of one name, and the two wire names it is about.
struct NameRrsets<'a> {
    change: &'a NameChange,
    ttl: u32,
    name: Name,
    marker: Name,
}

impl<'a> NameRrsets<'a> {
    fn new(change: &'a NameChange, ttl: u32) -> Result<Self, EncodeError> {
        Ok(Self {
            change,
            ttl,
            name: wire_name(change.name.as_str())?,
            marker: wire_name(&marker_name(&change.name))?,
        })
    }

    fn prerequisites(&self) -> Result<Vec<Record>, EncodeError> {
        let Self { change, marker, .. } = self;
        let mut prerequisites = match &change.basis {
            Basis::Unchecked => return Ok(Vec::new()),
            Basis::Adopt { marker_texts } => return Ok(self.marker_is(marker_texts)),
            Basis::Marker(previous) => vec![rrset_is(marker_record(marker, 0, previous))],
            Basis::Absent | Basis::Rrsets { .. } => {
                vec![rrset_is_absent(marker, RecordType::TXT)]
            }
        };
        self.require_rrsets(&mut prerequisites)?;
        if change.marker.is_some() && !matches!(change.basis, Basis::Marker(_)) {
            prerequisites.push(rrset_is_absent(marker, RecordType::CNAME));
        }
        Ok(prerequisites)
    }

    /// A message that adds an address or a CNAME beside data that excludes it is answered NOERROR
    /// and ignored in silence (RFC 2136 section 3.4.2.2): so that is required to be absent. Where
    /// the marker is known to be there, what stands beside it is ours.
    fn require_rrsets(&self, prerequisites: &mut Vec<Record>) -> Result<(), EncodeError> {
        let Self { change, name, .. } = self;
        let is_marked = matches!(change.basis, Basis::Marker(_));
        let (ipv4, ipv6, cname) = match &change.basis {
            Basis::Rrsets { ipv4, ipv6, cname } => (*ipv4, *ipv6, cname.as_ref()),
            _ => (None, None, None),
        };
        match (&change.records, cname) {
            (Records::Cname { .. } | Records::NoCname, Some(target)) => {
                prerequisites.push(rrset_is(cname_record(name, 0, target)?));
            }
            (Records::Cname { stands: true, .. }, None) if is_marked => {
                prerequisites.push(rrset_exists(name, RecordType::CNAME));
            }
            (Records::Cname { .. }, None) => {
                prerequisites.push(name_is_not_in_use(name));
            }
            (Records::NoCname, None) if is_marked => {}
            (Records::NoCname, None) => {
                prerequisites.push(rrset_is_absent(name, RecordType::CNAME));
            }
            (Records::Addresses { .. }, _) => {
                if !is_marked {
                    prerequisites.push(match ipv4 {
                        Some(address) => rrset_is(ipv4_record(name, 0, address)),
                        None => rrset_is_absent(name, RecordType::A),
                    });
                    prerequisites.push(match ipv6 {
                        Some(address) => rrset_is(ipv6_record(name, 0, address)),
                        None => rrset_is_absent(name, RecordType::AAAA),
                    });
                }
                if adds_addresses(&change.records) || change.basis == Basis::Absent {
                    prerequisites.push(rrset_is_absent(name, RecordType::CNAME));
                }
            }
        }
        Ok(())
    }

    /// The TXT RRset at the marker's name has exactly these texts.
    fn marker_is(&self, texts: &[String]) -> Vec<Record> {
        if texts.is_empty() {
            return vec![rrset_is_absent(&self.marker, RecordType::TXT)];
        }
        let texts = texts.iter();
        texts
            .map(|text| rrset_is(text_record(&self.marker, 0, text)))
            .collect()
    }

    fn updates(&self) -> Result<Vec<Record>, EncodeError> {
        let Self {
            change,
            ttl,
            name,
            marker,
        } = self;
        let is_adoption = matches!(change.basis, Basis::Adopt { .. });
        let mut updates = Vec::new();
        if is_adoption {
            updates.push(delete_rrset(name, RecordType::CNAME));
            updates.push(delete_rrset(marker, RecordType::CNAME));
        }
        match &change.records {
            Records::Addresses { ipv4, ipv6 } => {
                if *ipv4 != RrsetChange::Keep {
                    updates.push(delete_rrset(name, RecordType::A));
                }
                if let RrsetChange::Set(address) = ipv4 {
                    updates.push(ipv4_record(name, *ttl, *address));
                }
                if *ipv6 != RrsetChange::Keep {
                    updates.push(delete_rrset(name, RecordType::AAAA));
                }
                if let RrsetChange::Set(address) = ipv6 {
                    updates.push(ipv6_record(name, *ttl, *address));
                }
            }
            Records::Cname { target, .. } => {
                if is_adoption {
                    updates.push(delete_rrset(name, RecordType::A));
                    updates.push(delete_rrset(name, RecordType::AAAA));
                } else {
                    updates.push(delete_rrset(name, RecordType::CNAME));
                }
                updates.push(cname_record(name, *ttl, target)?);
            }
            Records::NoCname => updates.push(delete_rrset(name, RecordType::CNAME)),
        }
        // On the other bases there is none, or nobody knows whose it is.
        let may_be_marked = matches!(change.basis, Basis::Marker(_) | Basis::Adopt { .. });
        if may_be_marked || change.marker.is_some() {
            updates.push(delete_rrset(marker, RecordType::TXT));
        }
        if let Some(new) = &change.marker {
            updates.push(marker_record(marker, *ttl, new));
        }
        Ok(updates)
    }
}

fn adds_addresses(records: &Records) -> bool {
    match records {
        Records::Addresses { ipv4, ipv6 } => {
            matches!(ipv4, RrsetChange::Set(_)) || matches!(ipv6, RrsetChange::Set(_))
        }
        Records::Cname { .. } | Records::NoCname => false,
    }
}

fn cname_record(name: &Name, ttl: u32, target: &Fqdn) -> Result<Record, EncodeError> {
    let target = RData::CNAME(CNAME(wire_name(target.as_str())?));
    Ok(Record::from_rdata(name.clone(), ttl, target))
}

fn ipv4_record(name: &Name, ttl: u32, address: Ipv4Addr) -> Record {
    Record::from_rdata(name.clone(), ttl, RData::A(A(address)))
}

fn ipv6_record(name: &Name, ttl: u32, address: Ipv6Addr) -> Record {
    Record::from_rdata(name.clone(), ttl, RData::AAAA(AAAA(address)))
}

fn marker_record(name: &Name, ttl: u32, marker: &Marker) -> Record {
    text_record(name, ttl, &marker.to_string())
}

fn text_record(name: &Name, ttl: u32, text: &str) -> Record {
    let text = TXT::new(vec![text.to_owned()]);
    Record::from_rdata(name.clone(), ttl, RData::TXT(text))
}

/// RFC 2136 section 2.4.2, RRset exists (value dependent): the RRset is this record and no other.
/// Class as of the zone; the TTL must be 0.
fn rrset_is(record: Record) -> Record {
    debug_assert_eq!(record.ttl, 0);
    record
}

/// RFC 2136 section 2.4.1, RRset exists (value independent): class ANY, no data.
fn rrset_exists(name: &Name, rr_type: RecordType) -> Record {
    without_data(name, rr_type, DNSClass::ANY)
}

/// RFC 2136 section 2.4.5, name is not in use: class NONE, type ANY, no data.
fn name_is_not_in_use(name: &Name) -> Record {
    without_data(name, RecordType::ANY, DNSClass::NONE)
}

/// RFC 2136 section 2.4.3, RRset does not exist: class NONE, no data.
fn rrset_is_absent(name: &Name, rr_type: RecordType) -> Record {
    without_data(name, rr_type, DNSClass::NONE)
}

/// RFC 2136 section 2.5.2, delete an RRset: class ANY, no data. Not an error where there is none.
fn delete_rrset(name: &Name, rr_type: RecordType) -> Record {
    without_data(name, rr_type, DNSClass::ANY)
}

fn without_data(name: &Name, rr_type: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, rr_type);
    record.dns_class = class;
    record.into_record_of_rdata()
}

#[cfg(test)]
mod tests;
