//! PURE: what the messages of a zone transfer say (AXFR, RFC 5936).

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_net::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_net::proto::rr::RecordType;

use super::message::{EncodeError, wire_name};
use super::reply::{bad_time, refusal, render, word};
use super::tsig::chain::Chain;
use super::tsig::{Proof, TsigKey};
use super::wire::{CLASS_IN, Layout, Malformed, Record, Soa, rr_type};
use crate::name::Fqdn;
use crate::provider::TransferError;
use crate::record::contents::{Data, Visit};

/// A zone of more records is not read whole: its hosts are asked for one by one.
const MOST_RECORDS: u64 = 5_000_000;

/// The request for a whole zone (RFC 5936 section 2.1).
pub fn request(id: u16, apex: &Fqdn) -> Result<Message, EncodeError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(wire_name(apex.as_str())?, RecordType::AXFR));
    Ok(message)
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Further messages follow.
    Begun,
    /// The zone of this serial was handed over whole, by a holder of our key.
    Whole { serial: u32 },
}

/// A transfer under way.
pub struct Transfer<'a> {
    id: u16,
    apex: &'a Fqdn,
    chain: Chain<'a>,
    /// What the zone begins and ends with.
    soa: Option<Soa>,
    records: u64,
    /// Of the owner of the record that is looked at; kept for its room.
    name: String,
}

impl<'a> Transfer<'a> {
    /// The reply to [`request`] of this id, which was signed with `key` and has this MAC.
    pub fn new(id: u16, apex: &'a Fqdn, key: &'a TsigKey, request_mac: &[u8]) -> Self {
        Self {
            id,
            apex,
            chain: Chain::new(key, request_mac),
            soa: None,
            records: 0,
            name: String::new(),
        }
    }

    /// Takes the next message; `now` is in seconds since the epoch. After [`Progress::Whole`] and
    /// after an error there is nothing more to take.
    pub fn take(
        &mut self,
        message: &[u8],
        now: u64,
        visit: &mut Visit<'_>,
    ) -> Result<Progress, TransferError> {
        let layout = Layout::of(message)?;
        if !layout.is_response || layout.op_code != 0 || layout.id != self.id {
            return Err(broken("a message is no reply to our request"));
        }
        let proof = self.chain.take(message, layout.tsig, now);
        let is_first = self.soa.is_none();
        let rcode = ResponseCode::from_low(layout.rcode);
        match proof {
            Proof::Verified => {}
            // The next signature covers it.
            Proof::Unsigned if !is_first => {}
            Proof::Unsigned => return Err(unsigned(rcode)),
            Proof::BadTime { behind_server } if is_first => {
                return Err(TransferError::Unauthorized(bad_time(behind_server)));
            }
            Proof::Refused(error) if is_first => {
                return Err(TransferError::Unauthorized(refusal(error)));
            }
            Proof::BadTime { .. } | Proof::Refused(_) => {
                return Err(broken("the server gave up on our key in the middle"));
            }
            Proof::Broken(why) => return Err(broken(why)),
        }
        match rcode {
            ResponseCode::NoError if !layout.is_truncated => {}
            ResponseCode::NoError => return Err(broken("a message is cut short")),
            _ if !is_first => return Err(broken(&format!("{} in the middle", word(rcode)))),
            ResponseCode::ServFail => return Err(TransferError::Unavailable(word(rcode))),
            _ => return Err(TransferError::Refused(word(rcode))),
        }
        let mut is_whole = false;
        for record in layout.answers(message) {
            if is_whole {
                return Err(broken("records follow the last SOA record"));
            }
            is_whole = self.take_record(&record?, visit)?;
        }
        match &self.soa {
            None => Err(broken("the first message is empty")),
            Some(_) if !is_whole => Ok(Progress::Begun),
            Some(_) if proof == Proof::Unsigned => Err(broken("the last message is not signed")),
            Some(soa) => Ok(Progress::Whole {
                serial: soa.serial(),
            }),
        }
    }

    /// Whether it is the last.
    fn take_record(
        &mut self,
        record: &Record<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<bool, TransferError> {
        if record.class != CLASS_IN {
            return Err(broken("a record is of another class"));
        }
        record.owner(&mut self.name)?;
        if record.rr_type == rr_type::SOA {
            if self.name != self.apex.as_str() {
                return Err(broken("a SOA record is of another zone"));
            }
            let soa = record.soa()?;
            return match &self.soa {
                None => {
                    self.soa = Some(soa);
                    Ok(false)
                }
                Some(first) if *first == soa => Ok(true),
                Some(_) => Err(broken("the SOA record at the end is another one")),
            };
        }
        if self.soa.is_none() {
            return Err(broken("the first record is no SOA record"));
        }
        self.records += 1;
        if self.records > MOST_RECORDS {
            let why = format!("the zone has more than {MOST_RECORDS} records");
            return Err(TransferError::Refused(why));
        }
        visit(&self.name, record.ttl, data(record)?);
        Ok(false)
    }
}

fn data<'a>(record: &Record<'a>) -> Result<Data<'a>, Malformed> {
    Ok(match record.rr_type {
        rr_type::A => Data::Ipv4(Ipv4Addr::from(record.address::<4>()?)),
        rr_type::AAAA => Data::Ipv6(Ipv6Addr::from(record.address::<16>()?)),
        rr_type::CNAME => Data::Cname(record.target()?.into()),
        rr_type::TXT => Data::Text(render(&record.strings()?)),
        other => Data::Other(other),
    })
}

/// An error without TSIG, of a server that knows us no better than a stranger: what it does not
/// hand out may still be asked for, and then it has to prove who it is. PowerDNS refuses transfers
/// like this.
fn unsigned(rcode: ResponseCode) -> TransferError {
    match rcode {
        ResponseCode::Refused
        | ResponseCode::NotAuth
        | ResponseCode::FormErr
        | ResponseCode::NotImp => TransferError::Refused(format!("{} without TSIG", word(rcode))),
        ResponseCode::ServFail => TransferError::Unavailable(word(rcode)),
        _ => broken("the first message is not signed"),
    }
}

fn broken(why: &str) -> TransferError {
    TransferError::Broken(why.to_owned())
}

impl From<Malformed> for TransferError {
    fn from(error: Malformed) -> Self {
        Self::Broken(error.to_string())
    }
}

#[cfg(test)]
mod tests;
