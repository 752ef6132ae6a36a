//! What comes in: bodies, queries and headers, each with a limit, and each refused with the place that is wrong.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use symphony_api::{Code, FieldError, IDEMPOTENCY_KEY_BYTES_MAX, JSON_BODY_BYTES_MAX};
use symphony_store::Revision;

use crate::app::App;
use crate::failure::{Answer, Failure};

/// A JSON body of at most 1 MiB.
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Input<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        content_type(request.headers(), &["application/json", "application/merge-patch+json"])?;
        let limit = JSON_BODY_BYTES_MAX as u64;
        let body = tokio::time::timeout(
            app.limits.body_timeout,
            collect(request, limit, app.limits.body_timeout),
        )
        .await;
        parse(&body.map_err(|_| late())??).map(Self)
    }
}

/// Refuses a content type that is not one of these; parameters (`; charset=…`) are not looked at.
pub(crate) fn content_type(headers: &HeaderMap, taken: &[&str]) -> Answer<()> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if taken.iter().any(|taken| essence.eq_ignore_ascii_case(taken)) {
        return Ok(());
    }
    let given = if essence.is_empty() { "none" } else { essence };
    let detail = format!("the content type must be {}, and {given} was given", taken.join(" or "));
    Err(Failure::new(Code::UnsupportedMediaType, detail))
}

/// The length that a request says its body has.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
}

fn late() -> Failure {
    Failure::new(Code::MalformedBody, "the body did not come in time")
}

/// Reads a body of at most `limit` bytes into memory, as long as it is not silent for too long. One that says that it is
/// longer is refused before any of it is read.
pub(crate) async fn collect(request: Request, limit: u64, silence: Duration) -> Answer<Bytes> {
    let over = || Failure::new(Code::TooLarge, format!("the body may have {limit} bytes at most"));
    if content_length(request.headers()).is_some_and(|length| length > limit) {
        return Err(over());
    }
    let mut stream = Body::into_data_stream(request.into_body());
    let mut bytes = BytesMut::new();
    while let Some(piece) = tokio::time::timeout(silence, stream.next()).await.map_err(|_| late())? {
        let piece = piece.map_err(|_| Failure::new(Code::MalformedBody, "the body broke off"))?;
        if bytes.len() as u64 + piece.len() as u64 > limit {
            return Err(over());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        let detail = error.into_inner().to_string();
        Failure::fields(Code::MalformedBody, vec![FieldError { pointer, detail }])
    })?;
    reader
        .end()
        .map_err(|error| Failure::field(Code::MalformedBody, "", error.to_string()))?;
    Ok(value)
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let text = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&text);
    }
    pointer
}

/// The query of a path; a parameter that the route does not know is refused.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        let wrong = |error: axum::extract::rejection::QueryRejection| {
            let detail = error.body_text();
            let detail = detail
                .strip_prefix("Failed to deserialize query string: ")
                .unwrap_or(&detail)
                .to_owned();
            let (pointer, detail) = detail.split_once(": ").unwrap_or(("query", &detail));
            Failure::field(Code::InvalidArgument, pointer, detail)
        };
        query.map(|Query(query)| Self(query)).map_err(wrong)
    }
}

/// `If-Match`: the revision that the object must still have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IfMatch(Option<u64>);

impl IfMatch {
    /// Refuses when the object has another revision by now.
    pub(crate) fn check(self, revision: Revision) -> Answer<()> {
        match self.0 {
            Some(wanted) if wanted != revision.0 => {
                let detail =
                    format!("it has revision {revision} by now, and the change is for {wanted}: look at it again");
                Err(Failure::new(Code::PreconditionFailed, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether the change is for one revision only, so that it must not be tried again on a later one.
    pub(crate) fn is_given(self) -> bool {
        self.0.is_some()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        let wrong = |_| Failure::field(Code::InvalidArgument, "If-Match", "it must be one ETag, like \"42\"");
        bare.parse().map(|revision| Self(Some(revision))).map_err(wrong)
    }
}

/// `Idempotency-Key`: what makes a repeated request one.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        const NAME: HeaderName = HeaderName::from_static("idempotency-key");
        let Some(value) = parts.headers.get(NAME) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default();
        if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            let detail = format!("it must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} ASCII characters");
            return Err(Failure::field(Code::InvalidArgument, "Idempotency-Key", detail));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

/// Collects what is wrong with the values of a body, so that one answer names all of it.
#[derive(Default)]
pub(crate) struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    /// The value, or a note of what is wrong with it.
    pub(crate) fn take<T, E: std::fmt::Display>(&mut self, pointer: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.wrong(pointer, error.to_string())).ok()
    }

    pub(crate) fn wrong(&mut self, pointer: &str, detail: impl Into<String>) {
        self.errors.push(FieldError {
            pointer: pointer.to_owned(),
            detail: detail.into(),
        });
    }

    /// All that is wrong, if anything is.
    pub(crate) fn end(self) -> Answer<()> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::fields(Code::InvalidArgument, self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use symphony_api::v1::CreateVolume;

    use super::*;

    #[test]
    fn a_wrong_body_is_refused_with_its_place() {
        let cases = [
            ("{", ""),
            ("[]", ""),
            (r#"{"name":1,"spec":{}}"#, "/name"),
            (r#"{"name":"a","spec":{"size":[]}}"#, "/spec/size"),
            (r#"{"name":"a","spec":{"colour":1}}"#, "/spec/colour"),
            (r#"{"name":"a","labels":{"a/b":1},"spec":{}}"#, "/labels/a~1b"),
            (r#"{"name":"a"}"#, ""),
            (r#"{"name":"a","spec":{}} x"#, ""),
        ];
        for (body, pointer) in cases {
            let failure = parse::<CreateVolume>(body.as_bytes()).unwrap_err();
            assert_eq!(failure.0.code, Code::MalformedBody, "{body}");
            assert_eq!(failure.0.errors[0].pointer, pointer, "{body}: {:?}", failure.0.errors);
        }
        let deep = format!("{{\"name\":{}", "[".repeat(100_000));
        assert_eq!(
            parse::<CreateVolume>(deep.as_bytes()).unwrap_err().0.code,
            Code::MalformedBody
        );
    }
}
