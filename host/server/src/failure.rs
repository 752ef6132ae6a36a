//! How a request fails: a [`Problem`], on its way out.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use symphony_api::problem::PROBLEM_JSON;
use symphony_api::{Code, FieldError, Problem};
use symphony_core::record::RecordError;

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Failure>;

/// A problem to be answered. The path and the request's id are put in on the way out.
#[derive(Debug, Clone)]
pub(crate) struct Failure(pub(crate) Box<Problem>);

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// One value is wrong.
    pub(crate) fn field(code: Code, pointer: &str, detail: impl Into<String>) -> Self {
        Self::fields(
            code,
            vec![FieldError {
                pointer: pointer.to_owned(),
                detail: detail.into(),
            }],
        )
    }

    /// Some values are wrong.
    pub(crate) fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        Self(Box::new(Problem::new(code, "").with_errors(errors)))
    }

    /// There is no such thing.
    pub(crate) fn missing(kind: &str, name: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} {name:?}"))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<symphony_store::Error> for Failure {
    fn from(error: symphony_store::Error) -> Self {
        store_problem(&error).into()
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        tracing::error!(error = %chain(&error), "a record can't be used");
        Self::new(Code::Internal, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = problem_response(&self.0);
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem as an answer.
pub(crate) fn problem_response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A problem is made of texts and numbers, which can always be written as JSON.
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What of a store's error a client is told.
pub(crate) fn store_problem(error: &symphony_store::Error) -> Problem {
    use symphony_store::Error;
    match error {
        Error::Compacted { .. } => Problem::new(
            Code::RevisionCompacted,
            format!("{error}; list again and watch from there"),
        ),
        Error::LimitReached { .. } => Problem::new(Code::TooManyRequests, error.to_string()),
        Error::Unavailable { .. } | Error::NoSpace | Error::Failed { .. } => {
            tracing::error!(error = %chain(error), "the store failed");
            let made = if error.is_ambiguous() {
                "a write may or may not have been made: look before you try again"
            } else {
                "nothing was written: try again"
            };
            Problem::new(Code::StoreUnavailable, format!("{error}; {made}"))
        }
        Error::Closed => Problem::new(Code::StoreUnavailable, error.to_string()),
        _ => {
            tracing::error!(error = %chain(error), "the store refused a request");
            Problem::new(Code::Internal, error.to_string())
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
