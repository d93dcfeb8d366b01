//! `/debug/whoami`: why a client's address is what it is, for whoever holds an update key.

use super::Endpoint;
use super::answer::Answer;
use super::check_in::authenticate;
use crate::index::host::Host;
use crate::update::client_address::Explanation;
use crate::update::outcome::Outcome;
use crate::update::protocol::address::Declared;
use crate::update::protocol::{Dialect, Input, Proof};
use crate::update::scope::{Scope, scope};
use crate::update::source_address::choose;

/// The explanation, one sentence a line, or why it is refused.
pub(super) fn answer(
    endpoint: &Endpoint,
    input: &Input<'_>,
    explanation: &Explanation,
) -> Result<Answer, Outcome> {
    let client = explanation.origin.address();
    let proof = Dialect::Dyndns2.parse(input).proof;
    if proof == Proof::Missing {
        return Err(Outcome::NoCredentials);
    }
    if !endpoint.freshness.is_synced() {
        return Err(Outcome::Unavailable);
    }
    let authenticated = authenticate(&endpoint.index, &proof, client)?;

    let mut lines = explanation.lines.clone();
    lines.push(match client.map(|client| (client, scope(client))) {
        None => "Your address is not known.".to_owned(),
        Some((client, Scope::Global)) => format!("Your address is {client}."),
        Some((client, _)) => format!("Your address is {client}, which is not a public one."),
    });
    lines.extend(authenticated.hosts().iter().filter_map(|host| {
        let spec = host.spec.as_ref().ok()?;
        let name = &spec.hostname;
        Some(format!(
            "{name}: a request without an address {}.",
            effect(host, client)
        ))
    }));
    Ok(Answer::text(200, lines.join("\n") + "\n"))
}

fn effect(host: &Host, client: Option<std::net::IpAddr>) -> String {
    let Ok(spec) = &host.spec else {
        return "is refused".to_owned();
    };
    match choose(spec, &host.observed, &Declared::default(), None, client) {
        Ok(chosen) => format!("would publish {}", chosen.echo.spelling()),
        Err(error) => format!("is refused: {error}"),
    }
}
