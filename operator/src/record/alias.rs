//! A further name of a host.

use dynhost_crds::host::AliasType;

use crate::name::RecordName;
use serde::{Deserialize, Serialize};

/// A further name of a host, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alias {
    pub name: RecordName,
    pub kind: AliasType,
}
