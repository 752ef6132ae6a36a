//! Requests and answers, without their meaning.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Client, ClientError, REQUEST_TIMEOUT};
use crate::problem::Problem;

/// The first pause before a request is repeated; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long one of several managers may take to answer a request that may be repeated: one that was frozen takes
/// connections, and never answers.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read into memory, in bytes: a page of 500 objects is far below it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListQuery {
    /// Most items on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
    /// Only those with these labels: `a=1,b=2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

impl Client {
    /// `{base}/v1/{segments}`, each segment encoded: a name from a person never changes the path's shape.
    pub(super) fn url(&self, segments: &[&str]) -> Result<reqwest::Url, ClientError> {
        let wrong = || ClientError::Address(self.address().to_owned());
        let mut url = reqwest::Url::parse(self.address()).map_err(|_| wrong())?;
        url.path_segments_mut().map_err(|()| wrong())?.clear().extend(segments);
        Ok(url)
    }

    pub(super) fn request(&self, method: Method, url: reqwest::Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request to the manager that is asked now; to the next one when that one can't be reached, each at most
    /// once. Nothing was sent to one that can't be reached, so that does no harm to any request.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = self.reach(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// As [`Client::send`], whatever the answer is.
    pub(super) async fn reach(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unsendable = |source| ClientError::transport("the request can't be made", source);
        let mut request = request.build().map_err(unsendable)?;
        let mut others = self.managers.len() - 1;
        loop {
            let (number, url) = self.managers.at_present(request.url());
            *request.url_mut() = url;
            let copy = request.try_clone();
            let error = match self.http.execute(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let what = format!("the manager at {} did not answer", self.address());
            let error = ClientError::transport(what, error);
            if self.managers.len() > 1 {
                self.managers.leave(number);
            }
            match copy {
                Some(copy) if others > 0 && error.is_unreachable() => request = copy,
                _ => return Err(error),
            }
            others -= 1;
        }
    }

    /// Finds a manager that can be reached, before something is sent that can be sent but once.
    pub(super) async fn find_manager(&self) -> Result<(), ClientError> {
        if self.managers.len() > 1 {
            let url = self.url(&["healthz"])?;
            self.patiently(|| self.reach(self.request(Method::GET, url.clone()).timeout(ATTEMPT_TIMEOUT)))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let strange = || ClientError::Strange {
            what: self.address().to_owned(),
            status,
        };
        match read(response).await {
            Ok(bytes) => serde_json::from_slice::<Problem>(&bytes)
                .map_or_else(|_| strange(), |problem| ClientError::Problem(Box::new(problem))),
            Err(_) => strange(),
        }
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        self.json_within(request, REQUEST_TIMEOUT).await
    }

    async fn json_within<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let response = self.send(request.timeout(limit)).await?;
        let bytes = read(response).await?;
        serde_json::from_slice(&bytes).map_err(ClientError::Decode)
    }

    /// For requests that do no harm when they are repeated.
    pub(super) async fn repeat<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, ClientError> {
        let limit = if self.managers.len() > 1 {
            ATTEMPT_TIMEOUT
        } else {
            REQUEST_TIMEOUT
        };
        self.patiently(|| self.json_within(request(), limit)).await
    }

    /// Tries again what fails in passing, at the next manager where there are several, as long as its patience lasts.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, ClientError> {
        let begun = Instant::now();
        let mut pause = PAUSE;
        let mut notice = self.notice.as_ref();
        loop {
            let error = match attempt().await {
                Err(error) if error.is_passing() => error,
                other => return other,
            };
            if begun.elapsed() + pause > self.patience_with(&error) {
                return Err(error);
            }
            if error.is_between_leaders() {
                // Another may have reached the store, or the new leader, already.
                self.managers.leave(self.managers.present().0);
            }
            if begun.elapsed() >= self.patience.notice
                && let Some(notice) = notice.take()
            {
                notice(error.in_passing());
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// How long what fails so is tried again.
    pub(super) fn patience_with(&self, error: &ClientError) -> Duration {
        let is_lost = matches!(error, ClientError::Transport { .. });
        if error.is_between_leaders() || (is_lost && self.managers.len() > 1) {
            self.patience.long
        } else {
            self.patience.short
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, ClientError> {
        let url = self.url(segments)?;
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }

    pub(super) async fn get_with<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &ListQuery,
    ) -> Result<T, ClientError> {
        let mut url = self.url(segments)?;
        let pairs = [
            ("limit", query.limit.map(|limit| limit.to_string())),
            ("page_token", query.page_token.clone()),
            ("labels", query.labels.clone()),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        self.repeat(|| self.request(Method::GET, url.clone())).await
    }
}

pub(super) async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let lost = |source| ClientError::transport("the answer broke off", source);
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Strange {
                what: "the manager".to_owned(),
                status: response.status().as_u16(),
            });
        }
    }
    Ok(bytes)
}
