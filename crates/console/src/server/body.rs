//! What is answered.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;

/// The body of an answer.
pub(crate) enum Body {
    /// All of it, until it was taken.
    Whole(Option<Bytes>),
    /// One event after the other, as long as there is somebody who listens.
    Events(Receiver<String>),
}

impl Body {
    pub(crate) fn whole(content: impl Into<Bytes>) -> Self {
        Self::Whole(Some(content.into()))
    }

    pub(crate) fn events(events: Receiver<String>) -> Self {
        Self::Events(events)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Events(events) => events.poll_recv(cx).map(|event| event.map(|text| Ok(Frame::data(text.into())))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(content) => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
