//! A further name of a host.

use dynhost_crds::host::AliasType;

use crate::name::RecordName;

/// A further name of a host, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: RecordName,
    pub kind: AliasType,
}
