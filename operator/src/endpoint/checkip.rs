//! `/checkip` and `/ip`: which address a client's requests come from.

use std::net::IpAddr;

use axum::Extension;
use axum::http::Method;

use super::Peer;
use super::answer::Answer;
use crate::update::scope::{Scope, scope};

/// The page that ddclient, inadyn, pfSense and OPNsense search for an address: there is no other
/// digit in it.
pub(super) async fn page(method: Method, Extension(peer): Extension<Peer>) -> Answer {
    answer(&method, peer, |address| {
        Answer::html(format!(
            "<html><head><title>Current IP Check</title></head>\
             <body>Current IP Address: {address}</body></html>"
        ))
    })
}

/// The bare address and a line end.
pub(super) async fn bare(method: Method, Extension(peer): Extension<Peer>) -> Answer {
    answer(&method, peer, |address| {
        Answer::text(200, format!("{address}\n"))
    })
}

/// An address that is not public is a proxy's or a node's: saying it would have clients publish it.
fn answer(method: &Method, Peer(peer): Peer, say: impl Fn(IpAddr) -> Answer) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Answer::method_not_allowed("GET, HEAD");
    }
    let address = peer.ip().to_canonical();
    match scope(address) {
        Scope::Global => say(address),
        _ => Answer::text(503, "no public address\n"),
    }
}
