//! The API server's audit log: who wrote what, counted by the server and not by the writer.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;

/// Metadata of every request to a resource, once, when its response is complete.
pub(crate) const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  nonResourceURLs: ["*"]
- level: Metadata
"#;

/// A place in the audit log; what is counted comes after it.
#[derive(Clone, Copy, Debug)]
pub struct AuditMark(pub(crate) u64);

/// One finished request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// `create`, `update`, `patch`, `delete`, `get`, `list`, `watch`, …
    pub verb: String,
    /// Such as `system:serviceaccount:dynhost-system:dynhost`.
    pub user: String,
    /// Empty for the core group.
    pub group: String,
    /// Plural and lower case, such as `dynamichosts`.
    pub resource: String,
    /// Such as `status`; empty for none.
    pub subresource: String,
    /// Empty for objects of the cluster.
    pub namespace: String,
    /// Empty for lists and for objects created by `generateName`.
    pub name: String,
    /// Whose fields the request wrote, where it said so, such as `dynhost-controller`.
    pub field_manager: String,
    /// The HTTP status.
    pub code: u16,
    /// When the response was complete, to the microsecond.
    pub at: Timestamp,
}

impl AuditEvent {
    /// Whether the request changed, or could have changed, something and was accepted.
    pub fn is_write(&self) -> bool {
        let reads = ["get", "list", "watch"];
        !reads.contains(&self.verb.as_str()) && (200..300).contains(&self.code)
    }
}

/// The events after `mark`, in the order of their responses.
pub(crate) fn read_events(log: &Path, mark: AuditMark) -> Result<Vec<AuditEvent>> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(mark.0))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    parse_events(&text)
}

fn parse_events(text: &str) -> Result<Vec<AuditEvent>> {
    // The last line may be half written.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut events = Vec::new();
    for line in complete.lines() {
        let logged: Logged = serde_json::from_str(line)?;
        // A request that never was answered (`Panic`) has no response status.
        if let (Some(object), Some(status)) = (logged.object_ref, logged.response_status) {
            let query = logged
                .request_uri
                .split_once('?')
                .map_or("", |(_, query)| query);
            let manager = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("fieldManager="));
            events.push(AuditEvent {
                verb: logged.verb,
                user: logged.user.username,
                group: object.api_group,
                resource: object.resource,
                subresource: object.subresource,
                namespace: object.namespace,
                name: object.name,
                field_manager: manager.unwrap_or_default().to_owned(),
                code: status.code,
                at: logged.stage_timestamp.parse()?,
            });
        }
    }
    Ok(events)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logged {
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    stage_timestamp: String,
    user: LoggedUser,
    object_ref: Option<LoggedObject>,
    response_status: Option<LoggedStatus>,
}

#[derive(Deserialize)]
struct LoggedUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LoggedObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct LoggedStatus {
    code: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finished_requests_on_complete_lines_count() {
        let text = concat!(
            r#"{"verb":"patch","requestURI":"/apis/dynhost.dev/v1alpha1/namespaces/n/dynamichosts/h/status?&fieldManager=m","stageTimestamp":"2026-01-01T00:00:00.000001Z","user":{"username":"u"},"objectRef":{"resource":"dynamichosts","namespace":"n","name":"h","apiGroup":"dynhost.dev","subresource":"status"},"responseStatus":{"code":200}}"#,
            "\n",
            r#"{"verb":"get","requestURI":"/","stageTimestamp":"2026-01-01T00:00:00Z","user":{"username":"u"}}"#,
            "\n",
            r#"{"verb":"pat"#,
        );
        let events = parse_events(text).unwrap();
        assert_eq!(events.len(), 1);
        assert!(events[0].is_write());
        assert_eq!(events[0].subresource, "status");
        assert_eq!(events[0].field_manager, "m");
        assert_eq!(events[0].at.subsec_microsecond(), 1);
    }
}
