//! No answer tells whether a name exists.

use dynhost_e2e::{Response, Stack, ZoneOptions, await_condition, http, stack::LIMIT};
use jiff::Timestamp;
use kube::Api;
use serde_json::json;

use crate::canary_keys::{Keys, NO_LIMITS, create, start_endpoint};
use crate::canary_requests::{sha1_script, with_key};

/// An answer without its date.
fn without_date(answer: Response) -> Response {
    let mut answer = answer;
    let is_new = |name: &str| matches!(name, "date" | "x-request-id");
    answer.headers.retain(|(name, _)| !is_new(name));
    answer
}

#[tokio::test]
async fn a_name_that_exists_is_answered_like_one_that_does_not() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let secrets = Api::namespaced(stack.client().await.unwrap(), &zone.namespace);
    let (theirs, others, nobodys) = (Keys::new(), Keys::new(), Keys::new());
    theirs.store(&secrets, "theirs", "").await;
    others.store(&secrets, "others", "").await;
    let existing = [
        ("home", json!({})),
        ("suspended", json!({"suspend": true})),
        (
            "elsewhere",
            json!({"address": {"allowedSources": ["203.0.113.0/24"]}}),
        ),
    ];
    for (label, fields) in existing.clone() {
        create(stack, &zone, label, ("theirs", &theirs), fields).await;
    }
    create(stack, &zone, "other", ("others", &others), json!({})).await;
    let endpoint = start_endpoint(stack, &NO_LIMITS).await;
    let server = endpoint.update_address();
    await_condition("the endpoint knows the hosts", LIMIT, async || {
        let answer = http::get(server, "/debug/whoami", Some(("", &others.token))).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await
    .unwrap();

    let at = Timestamp::now().as_second();
    let requests = |label: &str, keys: Option<&Keys>| -> Vec<String> {
        let name = format!("{label}.{}", zone.apex);
        let token = keys.map_or("", |keys| &keys.token);
        let mut requests = with_key(&name, token, "198.51.100.7");
        if let Some(keys) = keys {
            let (signer, secret) = (&keys.signer, &keys.sha1_secret);
            requests.push(sha1_script(&name, at, secret).0);
            requests.push(signer.signed(&name, at, "198.51.100.7").0);
            requests.push(signer.envelope(&name, at, "198.51.100.7").0);
        }
        let heads = requests
            .iter()
            .filter(|request| request.starts_with("GET "));
        let heads: Vec<_> = heads
            .map(|request| request.replacen("GET", "HEAD", 1))
            .collect();
        requests.extend(heads);
        requests
    };
    let mut statuses = Vec::new();
    for keys in [None, Some(&nobodys), Some(&others)] {
        let missing = requests("missing", keys);
        for (label, _) in &existing {
            for (asked, missing) in requests(label, keys).iter().zip(&missing) {
                // The body of an answer to HEAD does not follow its length.
                let is_head = asked.starts_with("HEAD");
                let ask = async |request: &str| {
                    let answer = http::exchange(server, request.as_bytes(), LIMIT).await;
                    answer.map(without_date).map_err(|_| is_head)
                };
                let (found, expected) = (ask(asked).await, ask(missing).await);
                assert_eq!(found, expected, "{asked}");
                if let Ok(answer) = found {
                    assert!(is_head || answer.status != 200, "{asked}");
                    statuses.push(answer.status);
                }
            }
        }
    }
    assert!(statuses.contains(&401) && statuses.contains(&404));
    // The same requests are understood where they may be.
    for request in requests("home", Some(&theirs))
        .iter()
        .filter(|r| !r.starts_with("HEAD"))
    {
        let answer = http::exchange(server, request.as_bytes(), LIMIT)
            .await
            .unwrap();
        let is_too_old = answer.status == 401 && !request.contains(&theirs.token);
        assert!(answer.status == 200 || is_too_old, "{request} {answer:?}");
    }
}
