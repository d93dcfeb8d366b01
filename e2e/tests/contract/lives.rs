//! The lives of names: changes one after the other, and what the zone holds after each.

use anyhow::Result;
use dynhost::name::Fqdn;
use dynhost::record::change::{Basis, HostChange, NameChange, Records};

use super::every_server::on_every_server;
use super::zone::{Keep, Outcome, Remove, Set, TTL, Zone, addresses, apply, marker, name};

/// One name's life. In records, `@` is the name, `~` the one above it, and `#1` the marker with
/// nonce 1.
pub(crate) struct Life {
    behaviour: &'static str,
    /// What the zone holds before, as `name ttl type data`.
    before: &'static [&'static str],
    steps: Vec<Step>,
}

/// One change.
pub(crate) struct Step {
    ttl: u32,
    records: Records,
    marker: Option<u8>,
    basis: Basis,
    outcome: Outcome,
    /// What then stands at the name, above and below it.
    after: &'static [&'static str],
}

pub(crate) fn life(
    behaviour: &'static str,
    before: &'static [&'static str],
    steps: impl Into<Vec<Step>>,
) -> Life {
    Life {
        behaviour,
        before,
        steps: steps.into(),
    }
}

/// A change that is applied.
pub(crate) fn done(
    (records, marker, basis): (Records, Option<u8>, Basis),
    after: &'static [&'static str],
) -> Step {
    Step {
        ttl: TTL,
        records,
        marker,
        basis,
        outcome: Outcome::Done,
        after,
    }
}

/// A change whose basis does not hold.
pub(crate) fn refused(
    change: (Records, Option<u8>, Basis),
    after: &'static [&'static str],
) -> Step {
    Step {
        outcome: Outcome::PreconditionFailed,
        ..done(change, after)
    }
}

/// Leads the lives in one zone, on every server. After each change the whole zone is looked at, so
/// that none may touch another's records.
pub(crate) async fn check(lives: &[Life]) -> Result<()> {
    on_every_server(async |software| {
        let numbered = || (0..).zip(lives);
        let before = numbered().flat_map(|(number, life)| {
            let records = life.before.iter();
            records.map(move |record| in_zone_file(record, number))
        });
        let zone = Zone::start(software, &before.collect::<Vec<_>>()).await?;
        let mut held: Vec<Vec<String>> = numbered()
            .map(|(number, life)| spell(life.before, number))
            .collect();
        assert_eq!(zone.records().await?, sorted(&held), "before all");
        for (number, life) in numbered() {
            for (place, step) in (1..).zip(&life.steps) {
                let outcome = apply(&zone.provider, step.change(number)).await;
                let what = format!("{}, step {place}: {outcome:?}", life.behaviour);
                assert_eq!(Outcome::of(&outcome), step.outcome, "{what}");
                held[number] = spell(step.after, number);
                assert_eq!(zone.records().await?, sorted(&held), "{what}");
            }
        }
        Ok(())
    })
    .await
}

impl Step {
    /// In seconds.
    pub(crate) fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    fn change(&self, number: usize) -> HostChange {
        let change = NameChange {
            name: name(&host(number)),
            records: self.records.clone(),
            marker: self.marker.map(marker),
            basis: self.basis.clone(),
        };
        HostChange::of_name(self.ttl, change)
    }
}

/// The name of the life with this number, relative to the apex. Each has a name above it to itself.
fn host(number: usize) -> String {
    format!("home.{}", above(number))
}

fn above(number: usize) -> String {
    format!("life{number}")
}

/// As [`Zone::records`] says it.
fn spell(records: &[&str], number: usize) -> Vec<String> {
    let spell = |record: &&str| {
        record
            .replace('@', &host(number))
            .replace('~', &above(number))
    };
    records.iter().map(spell).collect()
}

/// With TXT data in quotes, which PowerDNS compares as part of it.
fn in_zone_file(record: &str, number: usize) -> String {
    let record = spell(&[record], number).concat();
    let Some((front, text)) = record.split_once(" TXT ") else {
        return record;
    };
    let nonce = text.strip_prefix('#').and_then(|nonce| nonce.parse().ok());
    let text = nonce.map_or_else(|| text.to_owned(), |nonce| marker(nonce).to_string());
    format!("{front} TXT \"{text}\"")
}

fn sorted(held: &[Vec<String>]) -> Vec<String> {
    let mut all = held.concat();
    all.sort();
    all
}

/// Our marker, and no other, is there.
pub(crate) fn ours(nonce: u8) -> Basis {
    Basis::Marker(marker(nonce))
}

/// A change of the A RRset alone.
pub(crate) fn ipv4(address: &str) -> Records {
    addresses(Set(address), Keep)
}

/// Both address RRsets are removed.
pub(crate) fn nothing() -> Records {
    addresses(Remove, Remove)
}

pub(crate) fn cname(target: &str, stands: bool) -> Records {
    let target = Fqdn::parse(target).unwrap();
    Records::Cname { target, stands }
}

/// There is no marker, and this A RRset alone.
pub(crate) fn published(address: &str) -> Basis {
    Basis::Rrsets {
        ipv4: Some(address.parse().unwrap()),
        ipv6: None,
        cname: None,
    }
}

/// The administrator consented, and these texts were read at the marker's name.
pub(crate) fn adopt(marker_texts: &[&str]) -> Basis {
    let marker_texts = marker_texts.iter().map(|text| (*text).to_owned()).collect();
    Basis::Adopt { marker_texts }
}

pub(crate) fn first_write() -> (Records, Option<u8>, Basis) {
    (ipv4("198.51.100.7"), Some(1), Basis::Absent)
}
