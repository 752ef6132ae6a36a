//! The one form of every error (RFC 9457), and the closed list of what can be wrong.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::v1::{ExceededQuota, Verdict};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $exit:literal, $title:literal;)+) => {
        /// What is wrong, for a machine. The list is closed: a client may match on all of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its text on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The HTTP status that it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The exit code of a command that ends with it: 3 not found, 4 conflict, 5 unplaceable, else 1.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $exit,)+ }
            }

            /// A few words for a person.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// A value is not acceptable; `errors` names each.
    InvalidArgument = "invalid_argument", 400, 1, "A value is not acceptable";
    /// The body is not JSON, or not of the right form.
    MalformedBody = "malformed_body", 400, 1, "The body can't be read";
    /// No token, or a wrong one.
    Unauthorized = "unauthorized", 401, 1, "A valid token is needed";
    /// The token is good, but not for this.
    Forbidden = "forbidden", 403, 1, "Not allowed";
    /// There is no such thing.
    NotFound = "not_found", 404, 3, "Not found";
    /// There is no such project; it is made before anything in it.
    ProjectNotFound = "project_not_found", 404, 3, "There is no such project";
    /// The path exists, the method on it doesn't.
    MethodNotAllowed = "method_not_allowed", 405, 1, "The method is not allowed here";
    /// The name is taken.
    AlreadyExists = "already_exists", 409, 4, "The name is taken";
    /// Something changed at the same time, or stands against it.
    Conflict = "conflict", 409, 4, "In conflict with the present state";
    /// Volumes were made from the image.
    ImageInUse = "image_in_use", 409, 4, "The image is in use";
    /// Another machine has the volume, or the machine needs it.
    VolumeInUse = "volume_in_use", 409, 4, "The volume is in use";
    /// Machines are connected to the network.
    NetworkInUse = "network_in_use", 409, 4, "The network is in use";
    /// All its addresses are given out.
    NetworkFull = "network_full", 409, 4, "The network is full";
    /// Another network of the project has addresses of it.
    SubnetOverlaps = "subnet_overlaps", 409, 4, "The subnet overlaps with another";
    /// It takes that only while it is off, or only while it runs.
    WrongPower = "wrong_power", 409, 4, "Not in this state of power";
    /// No node takes it; `verdicts` says why, node by node.
    Unplaceable = "unplaceable", 409, 5, "No node takes it";
    /// The project would have more than it may; `quotas` says of what.
    QuotaExceeded = "quota_exceeded", 409, 4, "A quota would be passed";
    /// Something of it is still there.
    HasResources = "has_resources", 409, 4, "It still has resources";
    /// The revision is too old to watch from; list again.
    RevisionCompacted = "revision_compacted", 410, 1, "The revision is too old";
    /// `If-Match` names another revision than the present one.
    PreconditionFailed = "precondition_failed", 412, 4, "It was changed in between";
    /// The body is over the limit.
    TooLarge = "too_large", 413, 1, "The body is too large";
    /// The content type is not one that is taken here.
    UnsupportedMediaType = "unsupported_media_type", 415, 1, "The content type is not taken here";
    /// Each value is acceptable, together they are not.
    Unprocessable = "unprocessable", 422, 1, "It can't be done as asked";
    /// The image is of a kind that is not taken.
    ImageRefused = "image_refused", 422, 1, "The image is refused";
    /// The bytes have another digest than was said.
    DigestMismatch = "digest_mismatch", 422, 1, "The bytes have another digest";
    /// The component is not one that is taken.
    PluginRejected = "plugin_rejected", 422, 1, "The plugin is rejected";
    /// A volume never gets smaller.
    ShrinkNotSupported = "shrink_not_supported", 422, 1, "A volume can't be made smaller";
    /// The `Idempotency-Key` was used for another request.
    IdempotencyMismatch = "idempotency_mismatch", 422, 1, "The idempotency key was used for another request";
    /// Try again later.
    TooManyRequests = "too_many_requests", 429, 1, "Too many requests";
    /// There is no such token.
    TokenUnknown = "token_unknown", 403, 1, "There is no such token";
    /// The token has expired.
    TokenExpired = "token_expired", 403, 1, "The token has expired";
    /// The token was used as often as it may be.
    TokenUsed = "token_used", 403, 1, "The token was used already";
    /// The token is for something else.
    TokenWrongRole = "token_wrong_role", 403, 1, "The token is for another role";
    /// The token is of another cluster.
    TokenWrongCluster = "token_wrong_cluster", 403, 1, "The token is of another cluster";
    /// A member with another key has the name.
    AlreadyEnrolled = "already_enrolled", 409, 4, "The name is another member's";
    /// The clocks of the two are too far apart.
    ClockSkew = "clock_skew", 422, 1, "The clocks are apart";
    /// It was never let in, or was removed.
    NotAMember = "not_a_member", 403, 1, "Not a member of the cluster";
    /// The other is too new, or too old.
    VersionNotServed = "version_not_served", 422, 1, "The version is not served";
    /// The request is for the manager that leads; `leader` says where that is.
    NotLeader = "not_leader", 421, 1, "Another manager leads";
    /// No manager leads now; one will soon.
    NoLeader = "no_leader", 503, 1, "No manager leads now";
    /// A fault of the manager.
    Internal = "internal", 500, 1, "An internal fault";
    /// No image service has a session.
    NoImageService = "no_image_service", 503, 1, "No image service is there";
    /// The manager does not serve yet, or not any more.
    NotReady = "not_ready", 503, 1, "Not ready";
    /// The store does not answer.
    StoreUnavailable = "store_unavailable", 503, 1, "The store does not answer";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An error, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:symphony:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same few words for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do about it.
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// For a machine.
    pub code: Code,
    /// Finds the request in the manager's log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Which values are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What became of every candidate, when nothing took the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// Where the manager that leads is, `ADDRESS:PORT`, when that is what the request should have been sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Which quotas of the project would be passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<ExceededQuota>,
}

/// One wrong value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer into the body (`/spec/size`), or the name of a query parameter or header.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// A problem of this code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:symphony:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            instance: String::new(),
            code,
            request_id: String::new(),
            errors: Vec::new(),
            verdicts: Vec::new(),
            leader: None,
            quotas: Vec::new(),
        }
    }

    /// With the values that are wrong; the detail is that of the first when it is empty.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        if self.detail.is_empty()
            && let Some(first) = errors.first()
        {
            self.detail = format!("{}: {}", first.pointer, first.detail);
        }
        self.errors = errors;
        self
    }

    /// With what became of every candidate.
    #[must_use]
    pub fn with_verdicts(mut self, verdicts: Vec<Verdict>) -> Self {
        self.verdicts = verdicts;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_ones_on_the_wire() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!((400..=599).contains(&code.status()), "{code}");
        }
        assert_eq!(Code::NotFound.exit_code(), 3);
        assert_eq!(Code::PreconditionFailed.exit_code(), 4);
        assert_eq!(Code::Unplaceable.exit_code(), 5);
    }

    #[test]
    fn empty_parts_are_left_out() {
        let text = serde_json::to_string(&Problem::new(Code::NotFound, "no volume x")).unwrap();
        assert!(
            !text.contains("errors") && !text.contains("verdicts") && !text.contains("request_id"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap().code, Code::NotFound);
    }
}
