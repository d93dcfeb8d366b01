//! PURE: what a server's reply means.

use std::borrow::Cow;

use hickory_net::proto::op::{Message, MessageType, ResponseCode};
use hickory_net::proto::rr::rdata::tsig::TsigError;
use hickory_net::proto::rr::{RData, Record, RecordType};

use super::tsig::{FUDGE, Proof, Reply};
use crate::provider::ApplyError;
use crate::record::change::Found;

/// What became of an UPDATE message, from the reply to it.
///
/// | reply | RFC | means |
/// |---|---|---|
/// | NOERROR | 2136 3.8 | applied, and on stable storage |
/// | NXRRSET, YXRRSET, NXDOMAIN, YXDOMAIN | 2136 3.2 | a prerequisite does not hold |
/// | BADSIG, BADKEY, BADTRUNC, BADTIME | 8945 5.2 | our key or our clock is not the server's |
/// | REFUSED or NOTAUTH without TSIG | | the server does not know us |
/// | REFUSED | 2136 3.3 | the key may not make this change |
/// | NOTAUTH, NOTZONE, FORMERR, NOTIMP | 2136 3.1, 3.4.1 | wrong server, zone or name |
/// | SERVFAIL, anything else, anything unproved | 2136 4.6 | nobody knows |
pub fn applied(reply: &Reply) -> Result<(), ApplyError> {
    let rcode = proved_rcode(reply)?;
    match rcode {
        ResponseCode::NoError => Ok(()),
        ResponseCode::NXRRSet
        | ResponseCode::YXRRSet
        | ResponseCode::NXDomain
        | ResponseCode::YXDomain => Err(ApplyError::PreconditionFailed(word(rcode))),
        ResponseCode::Refused => Err(ApplyError::Rejected(
            "REFUSED: the server's policy does not let this key make this change".to_owned(),
        )),
        ResponseCode::NotAuth => Err(ApplyError::Rejected(
            "NOTAUTH: the server is not authoritative for the zone".to_owned(),
        )),
        ResponseCode::NotZone => Err(ApplyError::Rejected(
            "NOTZONE: a name lies outside the zone".to_owned(),
        )),
        ResponseCode::FormErr | ResponseCode::NotImp => Err(ApplyError::Rejected(word(rcode))),
        _ => Err(ApplyError::Unknown(word(rcode))),
    }
}

/// What the replies to [`super::message::queries`] say of the names that were asked for.
///
/// NXDOMAIN and an answer without records are empty alike. Records of other names do not count:
/// an answer also holds what a CNAME leads to. An alias at the marker's name counts as a text,
/// since no marker can stand beside it.
pub fn found(requests: &[Message], replies: &[Reply]) -> Result<Found, ApplyError> {
    let mut found = Found::default();
    for (request, reply) in requests.iter().zip(replies) {
        require_answer(reply)?;
        let Some(asked) = request.queries.first() else {
            continue;
        };
        let is_asked = |record: &&Record| record.name == *asked.name();
        for record in reply.message.answers.iter().filter(is_asked) {
            match (asked.query_type(), &record.data) {
                (RecordType::A, RData::A(address)) => found.ipv4.push(address.0),
                (RecordType::AAAA, RData::AAAA(address)) => found.ipv6.push(address.0),
                (RecordType::CNAME, RData::CNAME(target)) => {
                    found.cname = Some(target.0.to_ascii());
                }
                (RecordType::TXT, RData::TXT(text)) => {
                    let parts: Vec<&[u8]> = text.txt_data.iter().map(AsRef::as_ref).collect();
                    found.marker_texts.push(render(&parts).into_owned());
                }
                (RecordType::TXT, RData::CNAME(target)) => {
                    found.marker_texts.push(format!("CNAME {}", target.0));
                }
                _ => {}
            }
        }
    }
    // Servers rotate the records of an answer, and what is found is also told to people.
    found.ipv4.sort_unstable();
    found.ipv6.sort_unstable();
    found.marker_texts.sort_unstable();
    Ok(found)
}

/// The zone's serial, from the reply to [`super::message::soa`].
pub fn serial(reply: &Reply) -> Result<u32, ApplyError> {
    require_answer(reply)?;
    let soa = reply
        .message
        .answers
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        });
    soa.ok_or_else(|| ApplyError::Rejected("the server does not hold the zone".to_owned()))
}

/// The name of an rcode in metrics, of those that are known (RFC 6895 section 2.3).
pub fn label(rcode: ResponseCode) -> &'static str {
    match rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        _ => "other",
    }
}

fn require_answer(reply: &Reply) -> Result<(), ApplyError> {
    let rcode = proved_rcode(reply)?;
    match rcode {
        ResponseCode::NoError | ResponseCode::NXDomain if reply.message.authoritative => Ok(()),
        ResponseCode::NoError | ResponseCode::NXDomain => Err(ApplyError::Rejected(
            "the server is not authoritative for the name".to_owned(),
        )),
        ResponseCode::Refused => Err(ApplyError::Rejected(
            "REFUSED: the server's policy does not let this key query the zone".to_owned(),
        )),
        ResponseCode::ServFail => Err(ApplyError::Unknown(word(rcode))),
        _ => Err(ApplyError::Rejected(word(rcode))),
    }
}

/// The rcode, where the reply is proved to come from a holder of the key and to be whole; else
/// what the want of proof says.
fn proved_rcode(reply: &Reply) -> Result<ResponseCode, ApplyError> {
    let rcode = reply.message.response_code;
    if reply.message.message_type != MessageType::Response || reply.message.truncation {
        return Err(ApplyError::Unknown(
            "the reply is cut short or none at all".to_owned(),
        ));
    }
    match reply.proof {
        Proof::Verified => Ok(rcode),
        Proof::BadTime { behind_server } => Err(ApplyError::Unauthorized(bad_time(behind_server))),
        Proof::Refused(error) => Err(ApplyError::Unauthorized(refusal(error))),
        Proof::Unsigned => Err(match rcode {
            ResponseCode::Refused | ResponseCode::NotAuth => ApplyError::Unauthorized(format!(
                "{} without TSIG: the server does not know this key, or does not hold the zone",
                word(rcode)
            )),
            ResponseCode::FormErr | ResponseCode::NotImp => ApplyError::Rejected(format!(
                "{} without TSIG: the server does not understand signed updates",
                word(rcode)
            )),
            _ => ApplyError::Unknown(format!("{} in a reply that is not signed", word(rcode))),
        }),
        Proof::Broken(why) => Err(ApplyError::Unknown(format!("{}: {why}", word(rcode)))),
    }
}

pub(super) fn bad_time(behind_server: i64) -> String {
    let (seconds, side) = match behind_server {
        0.. => (behind_server, "behind"),
        _ => (-behind_server, "ahead of"),
    };
    format!("BADTIME: our clock is {seconds} s {side} the server's, at most {FUDGE} s are allowed")
}

pub(super) fn refusal(error: TsigError) -> String {
    match error {
        TsigError::BadSig => "BADSIG: the server has another secret for this key".to_owned(),
        TsigError::BadKey => "BADKEY: the server has no key of this name and algorithm".to_owned(),
        TsigError::BadTime => "BADTIME: the server refused our clock".to_owned(),
        TsigError::BadTrunc => "BADTRUNC: the server refused the length of our MAC".to_owned(),
        TsigError::Unknown(code) => format!("TSIG error {code}"),
    }
}

/// The rcode as in RFC 2136 section 2.2.
pub(super) fn word(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::YXDomain => "YXDOMAIN".to_owned(),
        ResponseCode::YXRRSet => "YXRRSET".to_owned(),
        ResponseCode::NXRRSet => "NXRRSET".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        other => format!("rcode {}", u16::from(other)),
    }
}

/// One character-string as it is; several as in a zone file, which is never a marker's text.
pub(super) fn render<'a>(parts: &[&'a [u8]]) -> Cow<'a, str> {
    match parts {
        [one] => String::from_utf8_lossy(one),
        several => several
            .iter()
            .map(|part| format!("{:?}", String::from_utf8_lossy(part)))
            .collect::<Vec<_>>()
            .join(" ")
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use hickory_net::proto::op::OpCode;
    use hickory_net::proto::rr::Name;
    use hickory_net::proto::rr::rdata::{A, AAAA, CNAME, TXT};

    use super::*;
    use crate::name::RecordName;
    use crate::provider::rfc2136::message::queries;

    fn reply(op_code: OpCode, rcode: ResponseCode, proof: Proof) -> Reply {
        let mut message = Message::new(7, MessageType::Response, op_code);
        message.metadata.response_code = rcode;
        message.metadata.authoritative = true;
        Reply { message, proof }
    }

    /// The variant and the text, to be compared as one.
    fn name(outcome: Result<(), ApplyError>) -> String {
        match outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                let debug = format!("{error:?}");
                let variant = debug.split(['(', ' ']).next().unwrap();
                let text = error.to_string();
                let text = text.split_once(": ").unwrap().1;
                format!("{variant}: {text}")
            }
        }
    }

    #[test]
    fn every_reply_to_an_update_says_what_to_do_next() {
        fn check(proof: Proof, rcode: ResponseCode, expected: &str) {
            let outcome = name(applied(&reply(OpCode::Update, rcode, proof)));
            assert!(
                outcome.starts_with(expected),
                "{proof:?} {rcode:?}: {outcome:?} does not start with {expected:?}"
            );
        }
        use Proof::{BadTime, Broken, Refused, Unsigned, Verified};
        use ResponseCode as R;

        check(Verified, R::NoError, "ok");
        check(Verified, R::NXRRSet, "PreconditionFailed: NXRRSET");
        check(Verified, R::YXRRSet, "PreconditionFailed: YXRRSET");
        check(Verified, R::NXDomain, "PreconditionFailed: NXDOMAIN");
        check(Verified, R::YXDomain, "PreconditionFailed: YXDOMAIN");
        check(Verified, R::Refused, "Rejected: REFUSED: ");
        check(Verified, R::NotAuth, "Rejected: NOTAUTH: ");
        check(Verified, R::NotZone, "Rejected: NOTZONE: ");
        check(Verified, R::FormErr, "Rejected: FORMERR");
        check(Verified, R::NotImp, "Rejected: NOTIMP");
        check(Verified, R::ServFail, "Unknown: SERVFAIL");
        check(Verified, R::Unknown(3841), "Unknown: rcode 3841");

        check(
            Refused(TsigError::BadSig),
            R::NotAuth,
            "Unauthorized: BADSIG: ",
        );
        check(
            Refused(TsigError::BadKey),
            R::NotAuth,
            "Unauthorized: BADKEY: ",
        );
        check(
            Refused(TsigError::BadTrunc),
            R::NotAuth,
            "Unauthorized: BADTRUNC: ",
        );
        check(
            Refused(TsigError::BadTime),
            R::NotAuth,
            "Unauthorized: BADTIME: ",
        );
        check(
            Refused(TsigError::Unknown(99)),
            R::NotAuth,
            "Unauthorized: TSIG error 99",
        );
        check(
            BadTime {
                behind_server: 1000,
            },
            R::NotAuth,
            "Unauthorized: BADTIME: our clock is 1000 s behind the server's, at most 300 s",
        );
        check(
            BadTime {
                behind_server: -400,
            },
            R::NotAuth,
            "Unauthorized: BADTIME: our clock is 400 s ahead of the server's",
        );

        check(Unsigned, R::Refused, "Unauthorized: REFUSED without TSIG");
        check(Unsigned, R::NotAuth, "Unauthorized: NOTAUTH without TSIG");
        check(Unsigned, R::FormErr, "Rejected: FORMERR without TSIG");
        check(Unsigned, R::NotImp, "Rejected: NOTIMP without TSIG");
        check(
            Unsigned,
            R::NoError,
            "Unknown: NOERROR in a reply that is not signed",
        );
        check(
            Unsigned,
            R::NXRRSet,
            "Unknown: NXRRSET in a reply that is not signed",
        );
        check(Unsigned, R::ServFail, "Unknown: SERVFAIL");

        for rcode in [R::NoError, R::NXRRSet, R::Refused, R::NotAuth] {
            check(Broken("forged"), rcode, "Unknown: ");
        }
    }

    #[test]
    fn a_reply_that_is_cut_short_or_a_request_proves_nothing() {
        let mut cut = reply(OpCode::Update, ResponseCode::NoError, Proof::Verified);
        cut.message.metadata.truncation = true;
        assert!(matches!(applied(&cut), Err(ApplyError::Unknown(_))));
        let mut echo = reply(OpCode::Update, ResponseCode::NoError, Proof::Verified);
        echo.message.metadata.message_type = MessageType::Query;
        assert!(matches!(applied(&echo), Err(ApplyError::Unknown(_))));
    }

    #[test]
    fn every_reply_to_a_query_is_an_answer_or_says_what_to_do_next() {
        fn check(proof: Proof, rcode: ResponseCode, authoritative: bool, expected: &str) {
            let mut reply = reply(OpCode::Query, rcode, proof);
            reply.message.metadata.authoritative = authoritative;
            let outcome = name(require_answer(&reply));
            assert!(
                outcome.starts_with(expected),
                "{proof:?} {rcode:?}: {outcome:?} does not start with {expected:?}"
            );
        }
        use ResponseCode as R;
        check(Proof::Verified, R::NoError, true, "ok");
        check(Proof::Verified, R::NXDomain, true, "ok");
        check(
            Proof::Verified,
            R::NoError,
            false,
            "Rejected: the server is not authoritative",
        );
        check(
            Proof::Verified,
            R::NXDomain,
            false,
            "Rejected: the server is not authoritative",
        );
        check(Proof::Verified, R::Refused, true, "Rejected: REFUSED: ");
        check(Proof::Verified, R::NotImp, true, "Rejected: NOTIMP");
        check(Proof::Verified, R::ServFail, true, "Unknown: SERVFAIL");
        check(
            Proof::Unsigned,
            R::NoError,
            true,
            "Unknown: NOERROR in a reply",
        );
        check(
            Proof::Unsigned,
            R::Refused,
            true,
            "Unauthorized: REFUSED without TSIG",
        );
        check(
            Proof::Broken("forged"),
            R::NoError,
            true,
            "Unknown: NOERROR: forged",
        );
        check(
            Proof::Refused(TsigError::BadKey),
            R::NotAuth,
            true,
            "Unauthorized: BADKEY: ",
        );
    }

    #[test]
    fn only_records_of_the_name_and_type_asked_for_are_found() {
        const NAME: &str = "home.dyn.example.org.";
        const MARKER: &str = "_dynhost.home.dyn.example.org.";
        const OTHER: &str = "target.example.net.";
        fn record(name: &str, data: RData) -> Record {
            Record::from_rdata(Name::from_ascii(name).unwrap(), 60, data)
        }
        fn alias(name: &str) -> Record {
            record(name, RData::CNAME(CNAME(Name::from_ascii(OTHER).unwrap())))
        }
        fn text(name: &str, parts: &[&str]) -> Record {
            let parts = parts.iter().map(|part| part.as_bytes()).collect();
            record(name, RData::TXT(TXT::from_bytes(parts)))
        }
        /// The answers to the queries for A, AAAA, CNAME and the marker's TXT.
        fn check(answers: [Vec<Record>; 4], expected: Found) {
            let host = RecordName::parse(NAME).unwrap();
            let replies = answers.map(|answers| {
                let mut reply = reply(OpCode::Query, ResponseCode::NoError, Proof::Verified);
                reply.message.answers = answers;
                reply
            });
            let requests = queries(0, &host).unwrap();
            assert_eq!(found(&requests, &replies), Ok(expected));
        }
        let ipv4 = |name| record(name, RData::A(A::new(198, 51, 100, 7)));
        let ipv6 = |name| {
            record(
                name,
                RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
            )
        };

        check([vec![], vec![], vec![], vec![]], Found::default());
        check(
            [
                vec![ipv4("HOME.dyn.example.org."), ipv6(NAME)],
                vec![ipv6(NAME)],
                vec![],
                vec![text(MARKER, &["v=1"]), text(MARKER, &["a b", "c"])],
            ],
            Found {
                marker_texts: vec!["\"a b\" \"c\"".to_owned(), "v=1".to_owned()],
                ipv4: vec!["198.51.100.7".parse().unwrap()],
                ipv6: vec!["2001:db8::7".parse().unwrap()],
                cname: None,
            },
        );
        check(
            [
                vec![alias(NAME), ipv4(OTHER)],
                vec![alias(NAME), ipv6(OTHER)],
                vec![alias(NAME)],
                vec![alias(MARKER), text(OTHER, &["v=1"])],
            ],
            Found {
                marker_texts: vec![format!("CNAME {OTHER}")],
                cname: Some(OTHER.to_owned()),
                ..Found::default()
            },
        );
    }
}
