//! `/checkip`, `/ip` and `/`: which address a client's requests come from.

use std::net::IpAddr;

use super::answer::Answer;
use crate::update::protocol::route::Route;
use crate::update::scope::{Scope, scope};

/// The answer to whoever asks for its address, where it is known.
///
/// An address that is not public is a proxy's or a node's: saying it would have clients publish it.
pub(super) fn answer(route: Route, client: Option<IpAddr>) -> Answer {
    match client {
        Some(address) if scope(address) == Scope::Global => say(route, address),
        _ => Answer::text(503, "no public address\n"),
    }
}

fn say(route: Route, address: IpAddr) -> Answer {
    match route {
        // What ddclient, inadyn, pfSense and OPNsense search for an address: there is no other digit.
        Route::CheckIpPage => Answer::html(format!(
            "<html><head><title>Current IP Check</title></head>\
             <body>Current IP Address: {address}</body></html>"
        )),
        Route::OwnAddress => Answer::text(200, address.to_string()),
        _ => Answer::text(200, format!("{address}\n")),
    }
}
