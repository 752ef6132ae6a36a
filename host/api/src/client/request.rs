//! Requests and answers, without their meaning.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientError, REQUEST_TIMEOUT};
use crate::problem::Problem;

/// How often a request that may be repeated is sent, and the pauses between.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
];
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
        let wrong = || ClientError::Address(self.base.to_string());
        let mut url = reqwest::Url::parse(&self.base).map_err(|_| wrong())?;
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

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|source| ClientError::transport(format!("the manager at {} did not answer", self.base), source))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    pub(super) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let strange = || ClientError::Strange {
            what: self.base.to_string(),
            status,
        };
        match read(response).await {
            Ok(bytes) => serde_json::from_slice::<Problem>(&bytes)
                .map_or_else(|_| strange(), |problem| ClientError::Problem(Box::new(problem))),
            Err(_) => strange(),
        }
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request.timeout(REQUEST_TIMEOUT)).await?;
        let bytes = read(response).await?;
        serde_json::from_slice(&bytes).map_err(ClientError::Decode)
    }

    /// For requests that do no harm when they are repeated.
    pub(super) async fn repeat<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, ClientError> {
        for pause in PAUSES {
            match self.json(request()).await {
                Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
                other => return other,
            }
        }
        self.json(request()).await
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
