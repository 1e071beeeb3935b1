//! The request of a hook, sent once. Only its status is looked at; what stands in the Secret goes to the URL that the hook names, and nowhere
//! else.

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::api::undo::{HttpHook, Method};
use crate::observe::measure::{self, ReadError, Trust};
use crate::observe::reach::{Denied, Reach};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("url or headers cannot be used")]
    Unusable,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Unsent(#[from] ReadError),
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("answered {0}, expected 2xx")]
    Answered(u16),
}

impl CallError {
    /// Whether another try would come to the same.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unusable | Self::Denied(_) => true,
            // Too early, too many, and whatever is the server's own fault.
            Self::Answered(status) => *status < 500 && ![408, 425, 429].contains(status),
            Self::Unsent(_) | Self::NoAnswer(_) => false,
        }
    }
}

/// Sends it. `secret`: the value of its secret header.
///
/// # Errors
/// When there is no answer, or another than 2xx.
pub async fn call(reach: &Reach, hook: &HttpHook, secret: Option<&str>) -> Result<u16, CallError> {
    let HttpHook { method, url, headers, secret_header, body } = hook;
    let trust = if url.starts_with("https:") { Trust::System } else { Trust::Nothing };
    let url = Url::parse(url).map_err(|_| CallError::Unusable)?;
    let method = match method.unwrap_or_default() {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    };
    let client = measure::client(trust, reach)?;
    let mut request = client.request(method, url)?;
    for (name, value) in headers {
        request = request.header(name.as_str(), value.0.as_str());
    }
    if let (Some(header), Some(secret)) = (secret_header, secret) {
        let name: HeaderName = header.name.parse().map_err(|_| CallError::Unusable)?;
        let text = format!("{}{secret}", header.prefix);
        let mut value = HeaderValue::from_str(&text).map_err(|_| CallError::Unusable)?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(body.clone());
    }
    let response = client.send(request).await.map_err(|error| match Denied::within(&error) {
        Some(denied) => CallError::Denied(denied),
        None if error.is_builder() => CallError::Unusable,
        None => CallError::NoAnswer(measure::innermost(&error)),
    })?;
    let status = response.status();
    if status.is_success() { Ok(status.as_u16()) } else { Err(CallError::Answered(status.as_u16())) }
}
