//! The Secret that holds an update key.

/// The `type` of a Secret that holds an update key.
pub const SECRET_TYPE: &str = "dynhost.dev/update-key";

/// Data key of the update key in force.
pub const TOKEN: &str = "token";

/// Data key of the former update key, still accepted while clients are being changed over.
pub const PREVIOUS_TOKEN: &str = "previousToken";

/// Label on a Secret whose update key dynhost generated.
pub const GENERATED_LABEL: &str = "dynhost.dev/generated";

/// The shortest update key accepted, in octets.
pub const MIN_TOKEN_OCTETS: usize = 12;

/// Data key of the secret that the script of 2012 signs with (`auth.sha1Script`).
pub const SHA1_SECRET: &str = "sha1Secret";
