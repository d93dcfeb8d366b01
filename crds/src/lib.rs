//! The resources of the group `dynhost.dev`, version `v1alpha1`: types only, no client.
//!
//! The YAML in `crds/yaml` is generated from these types (`dynhost crds`) and tested to be current.

// KubeSchema repeats each struct, with its `pub`, inside a function body.
#![allow(unreachable_pub)]
// Every printer column has the same attributes.
#![allow(clippy::duplicated_attributes)]

pub mod conditions;
pub mod host;
pub mod key;
pub mod reference;
pub mod stale_after;
pub mod yaml;
pub mod zone;

/// The API group of all resources.
pub const GROUP: &str = "dynhost.dev";

/// Finalizer of a DynamicHost whose records may be in DNS.
pub const HOST_FINALIZER: &str = "dynhost.dev/records";

/// Finalizer of a DynamicZone that has hosts with published records.
pub const ZONE_FINALIZER: &str = "dynhost.dev/in-use";

/// Annotation on a DynamicZone: the fully qualified name that its administrator lets dynhost take
/// over although somebody else's records are there.
pub const ADOPT_ANNOTATION: &str = "dynhost.dev/adopt";

/// On a zone: its administrator has seen, at this time (RFC 3339), that deleting is paused, and lets
/// it go on.
pub const APPROVE_DELETIONS_ANNOTATION: &str = "dynhost.dev/approve-deletions";

/// Field manager of what the endpoint writes: `status.observed` of hosts.
pub const ENDPOINT_FIELD_MANAGER: &str = "dynhost-endpoint";

/// Field manager of everything the controller writes.
pub const CONTROLLER_FIELD_MANAGER: &str = "dynhost-controller";
