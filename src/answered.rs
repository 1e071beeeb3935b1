//! What an API server answers in tests: the body of a text, or of one that never comes, or never to its end. For tests only; who answers what, and
//! when, is theirs.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

/// The body of an answer.
pub enum Answered {
    /// All of it at once, and then its end.
    Text(Bytes),
    /// It begins with this, and never ends.
    Begun(Bytes),
    /// It begins, has nothing to tell, and never ends.
    Silence,
}

impl Answered {
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(text.into())
    }

    pub fn begun(text: impl Into<Bytes>) -> Self {
        Self::Begun(text.into())
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Begun(text) => {
                let text = std::mem::take(text);
                *self = Self::Silence;
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Self::Silence => Poll::Pending,
        }
    }
}
