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
            (Records::Cname { stands: true, .. }, None) => {
                prerequisites.push(rrset_exists(name, RecordType::CNAME));
            }
            (Records::Cname { stands: false, .. }, None) => {
                prerequisites.push(name_is_not_in_use(name));
            }
            (Records::NoCname, None) => {}
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
mod tests {
    use RrsetChange::{Keep, Remove, Set};

    use super::*;
    use crate::provider::rfc2136::tsig::Algorithm;
    use crate::record::marker::{HostDigest, Nonce};

    const APEX: &str = "dyn.example.org";
    const HOST: &str = "home.dyn.example.org";

    fn marker(bits: u64) -> Marker {
        let host = HostDigest::of("family", "home");
        Marker::new("home".parse().unwrap(), host, Nonce::from_bits(bits))
    }

    /// A record as `<name> <ttl> <class> <type> <data>`, with the names and markers of this file shortened.
    fn shorten(record: &Record) -> String {
        let data = match &record.data {
            RData::Update0(_) => String::new(),
            RData::TXT(text) => {
                let text = String::from_utf8(text.txt_data.concat()).unwrap();
                text.rsplit_once("n=000000000000000").unwrap().1.to_owned()
            }
            data => data.to_string(),
        };
        let name = record.name.to_ascii().replace("home.dyn.example.org.", "@");
        let (ttl, class, rr_type) = (record.ttl, record.dns_class, record.record_type());
        format!("{name} {ttl} {class} {rr_type} {data}")
            .trim_end()
            .to_owned()
    }

    fn check(
        (ipv4, ipv6, marker, basis): (RrsetChange<&str>, RrsetChange<&str>, Option<Marker>, Basis),
        prerequisites: &[&str],
        updates: &[&str],
    ) {
        fn parse<A: std::str::FromStr<Err: std::fmt::Debug>>(
            change: RrsetChange<&str>,
        ) -> RrsetChange<A> {
            match change {
                Keep => Keep,
                Set(text) => Set(text.parse().unwrap()),
                Remove => Remove,
            }
        }
        let records = Records::Addresses {
            ipv4: parse(ipv4),
            ipv6: parse(ipv6),
        };
        check_records((records, marker, basis), prerequisites, updates);
    }

    fn check_records(
        (records, marker, basis): (Records, Option<Marker>, Basis),
        prerequisites: &[&str],
        updates: &[&str],
    ) {
        let change = HostChange {
            ttl: 60,
            names: vec![NameChange {
                name: RecordName::parse(HOST).unwrap(),
                records,
                marker,
                basis,
            }],
        };
        let apex = Fqdn::parse(APEX).unwrap();
        let message = update(7, &apex, std::slice::from_ref(&change)).unwrap();
        assert_eq!(message.id, 7);
        assert_eq!(message.op_code, OpCode::Update);
        assert!(!message.recursion_desired);
        assert_eq!(message.queries[0].to_string(), "dyn.example.org. IN SOA");
        let shortened: Vec<_> = message.answers.iter().map(shorten).collect();
        assert_eq!(shortened, prerequisites, "prerequisites of {change:?}");
        let shortened: Vec<_> = message.authorities.iter().map(shorten).collect();
        assert_eq!(shortened, updates, "updates of {change:?}");
    }

    #[test]
    fn a_first_write_requires_that_nothing_of_ours_or_others_is_there() {
        check(
            (
                Set("198.51.100.7"),
                Set("2001:db8::7"),
                Some(marker(1)),
                Basis::Absent,
            ),
            &[
                "_dynhost.@ 0 NONE TXT",
                "@ 0 NONE A",
                "@ 0 NONE AAAA",
                "@ 0 NONE CNAME",
                "_dynhost.@ 0 NONE CNAME",
            ],
            &[
                "@ 0 ANY A",
                "@ 60 IN A 198.51.100.7",
                "@ 0 ANY AAAA",
                "@ 60 IN AAAA 2001:db8::7",
                "_dynhost.@ 0 ANY TXT",
                "_dynhost.@ 60 IN TXT 1",
            ],
        );
    }

    #[test]
    fn a_replacement_requires_the_former_marker_and_no_cname() {
        check(
            (
                Set("198.51.100.8"),
                Keep,
                Some(marker(2)),
                Basis::Marker(marker(1)),
            ),
            &["_dynhost.@ 0 IN TXT 1", "@ 0 NONE CNAME"],
            &[
                "@ 0 ANY A",
                "@ 60 IN A 198.51.100.8",
                "_dynhost.@ 0 ANY TXT",
                "_dynhost.@ 60 IN TXT 2",
            ],
        );
        check(
            (
                Keep,
                Set("2001:db8::8"),
                Some(marker(2)),
                Basis::Marker(marker(1)),
            ),
            &["_dynhost.@ 0 IN TXT 1", "@ 0 NONE CNAME"],
            &[
                "@ 0 ANY AAAA",
                "@ 60 IN AAAA 2001:db8::8",
                "_dynhost.@ 0 ANY TXT",
                "_dynhost.@ 60 IN TXT 2",
            ],
        );
    }

    #[test]
    fn removing_one_family_keeps_the_marker() {
        check(
            (Keep, Remove, Some(marker(2)), Basis::Marker(marker(1))),
            &["_dynhost.@ 0 IN TXT 1"],
            &[
                "@ 0 ANY AAAA",
                "_dynhost.@ 0 ANY TXT",
                "_dynhost.@ 60 IN TXT 2",
            ],
        );
    }

    #[test]
    fn the_marker_is_removed_with_our_last_rrset_and_leaves_what_was_put_beside() {
        check(
            (Remove, Remove, None, Basis::Marker(marker(1))),
            &["_dynhost.@ 0 IN TXT 1"],
            &["@ 0 ANY A", "@ 0 ANY AAAA", "_dynhost.@ 0 ANY TXT"],
        );
        check(
            (Remove, Keep, None, Basis::Marker(marker(1))),
            &["_dynhost.@ 0 IN TXT 1"],
            &["@ 0 ANY A", "_dynhost.@ 0 ANY TXT"],
        );
    }

    #[test]
    fn a_lost_marker_is_restored_where_the_rrsets_are_as_published() {
        let ipv4 = Some("198.51.100.7".parse().unwrap());
        check(
            (
                Set("198.51.100.8"),
                Keep,
                Some(marker(2)),
                Basis::Rrsets {
                    ipv4,
                    ipv6: None,
                    cname: None,
                },
            ),
            &[
                "_dynhost.@ 0 NONE TXT",
                "@ 0 IN A 198.51.100.7",
                "@ 0 NONE AAAA",
                "@ 0 NONE CNAME",
                "_dynhost.@ 0 NONE CNAME",
            ],
            &[
                "@ 0 ANY A",
                "@ 60 IN A 198.51.100.8",
                "_dynhost.@ 0 ANY TXT",
                "_dynhost.@ 60 IN TXT 2",
            ],
        );
        let ipv6 = Some("2001:db8::7".parse().unwrap());
        check(
            (
                Remove,
                Remove,
                None,
                Basis::Rrsets {
                    ipv4,
                    ipv6,
                    cname: None,
                },
            ),
            &[
                "_dynhost.@ 0 NONE TXT",
                "@ 0 IN A 198.51.100.7",
                "@ 0 IN AAAA 2001:db8::7",
            ],
            &["@ 0 ANY A", "@ 0 ANY AAAA"],
        );
    }

    #[test]
    fn a_cname_stands_alone() {
        let cname = |stands| Records::Cname {
            target: Fqdn::parse("router.dyn.example.org").unwrap(),
            stands,
        };
        let writes = [
            "@ 0 ANY CNAME",
            "@ 60 IN CNAME router.dyn.example.org.",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 2",
        ];
        check_records(
            (cname(false), Some(marker(2)), Basis::Absent),
            &[
                "_dynhost.@ 0 NONE TXT",
                "@ 0 NONE ANY",
                "_dynhost.@ 0 NONE CNAME",
            ],
            &writes,
        );
        let ours = Basis::Marker(marker(1));
        check_records(
            (cname(true), Some(marker(2)), ours.clone()),
            &["_dynhost.@ 0 IN TXT 1", "@ 0 ANY CNAME"],
            &writes,
        );
        check_records(
            (cname(false), Some(marker(2)), ours.clone()),
            &["_dynhost.@ 0 IN TXT 1", "@ 0 NONE ANY"],
            &writes,
        );
        check_records(
            (Records::NoCname, None, ours),
            &["_dynhost.@ 0 IN TXT 1"],
            &["@ 0 ANY CNAME", "_dynhost.@ 0 ANY TXT"],
        );
        let as_published = Basis::Rrsets {
            ipv4: None,
            ipv6: None,
            cname: Some(Fqdn::parse("router.dyn.example.org").unwrap()),
        };
        check_records(
            (Records::NoCname, None, as_published),
            &[
                "_dynhost.@ 0 NONE TXT",
                "@ 0 IN CNAME router.dyn.example.org.",
            ],
            &["@ 0 ANY CNAME"],
        );
    }

    #[test]
    fn a_server_that_takes_no_prerequisites_gets_none() {
        check(
            (Set("198.51.100.7"), Remove, None, Basis::Unchecked),
            &[],
            &["@ 0 ANY A", "@ 60 IN A 198.51.100.7", "@ 0 ANY AAAA"],
        );
    }

    #[test]
    fn adoption_replaces_what_was_seen_there() {
        for (marker_texts, prerequisites) in [
            (vec![], vec!["_dynhost.@ 0 NONE TXT"]),
            (vec![marker(3).to_string()], vec!["_dynhost.@ 0 IN TXT 3"]),
        ] {
            let basis = Basis::Adopt { marker_texts };
            check_adoption(basis, &prerequisites);
        }
    }

    fn check_adoption(basis: Basis, prerequisites: &[&str]) {
        check(
            (Set("198.51.100.7"), Remove, Some(marker(1)), basis),
            prerequisites,
            &[
                "@ 0 ANY CNAME",
                "_dynhost.@ 0 ANY CNAME",
                "@ 0 ANY A",
                "@ 60 IN A 198.51.100.7",
                "@ 0 ANY AAAA",
                "_dynhost.@ 0 ANY TXT",
                "_dynhost.@ 60 IN TXT 1",
            ],
        );
    }

    #[test]
    fn the_queries_ask_for_addresses_cname_and_marker() {
        let queries = queries(u16::MAX, &RecordName::parse(HOST).unwrap()).unwrap();
        let asked = queries.each_ref().map(|m| (m.id, m.queries[0].to_string()));
        assert_eq!(
            asked,
            [
                (u16::MAX, format!("{HOST}. IN A")),
                (0, format!("{HOST}. IN AAAA")),
                (1, format!("{HOST}. IN CNAME")),
                (2, format!("_dynhost.{HOST}. IN TXT")),
            ]
        );
        assert!(queries.iter().all(|m| !m.recursion_desired));
    }

    #[test]
    fn a_message_that_would_be_cut_short_is_refused() {
        let key = TsigKey::new("dyn-key", Algorithm::HmacSha256, b"c2VjcmV0").unwrap();
        let apex = Fqdn::parse(APEX).unwrap();
        let mut message = probe(7, &apex).unwrap();
        assert!(encode(message.clone(), &key, 0).is_ok());
        let name = wire_name(HOST).unwrap();
        for _ in 0..260 {
            let text = TXT::new(vec!["x".repeat(250)]);
            message.add_update(Record::from_rdata(name.clone(), 0, RData::TXT(text)));
        }
        assert!(matches!(
            encode(message, &key, 0),
            Err(EncodeError::TooLarge)
        ));
    }

    #[test]
    fn a_host_whose_marker_has_no_room_is_refused() {
        let label = "a".repeat(60);
        let longest = format!("{}.{label}.{label}.{label}", "a".repeat(61));
        assert_eq!(longest.len(), 244);
        assert!(queries(0, &RecordName::parse(&longest).unwrap()).is_ok());
        let too_long = format!("a{longest}");
        let refused = queries(0, &RecordName::parse(&too_long).unwrap());
        assert!(matches!(refused, Err(EncodeError::Name(_))));
    }
}
