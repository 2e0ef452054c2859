//! The connection below hyper.
//!
//! hyper answers what it cannot parse by itself, without a body. Such an answer
//! is withheld here, so that a problem document can be sent in its place. And a
//! client that takes nothing for too long is cut off, which hyper leaves to us.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Sleep, sleep, timeout},
};

/// How long a client may take nothing of what is sent.
const STALL: Duration = Duration::from_mins(1);
/// How long to wait for the client's end of the connection.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of it to wait through.
const MOST_LINGERING: usize = 1 << 20;

/// See the module.
pub(super) struct Wire<S> {
    stream: S,
    refused: Option<StatusCode>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, refused: None, stall: None }
    }

    /// The status of an answer that was withheld.
    pub(super) fn refused(&self) -> Option<StatusCode> {
        self.refused
    }

    /// Sends the last bytes.
    pub(super) async fn last_words(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Closes it so that the client can read to the end: closing with bytes
    /// unread would reset the connection, and take the last answer away again.
    pub(super) async fn close(mut self) {
        let lingering = async {
            self.stream.shutdown().await?;
            let mut buffer = vec![0; 8 << 10];
            let mut left = MOST_LINGERING;
            while left > 0 {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            io::Result::Ok(())
        };
        // It is over in any case.
        let _ = timeout(LINGER, lingering).await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(status) = automatic(bytes) {
            self.refused = Some(status);
            return Poll::Ready(Ok(bytes.len()));
        }
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.stall = None;
            return Poll::Ready(written);
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The status of an answer that hyper has made: an error without a body, which
/// none of ours is.
fn automatic(bytes: &[u8]) -> Option<StatusCode> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let status = StatusCode::from_bytes(status.get(..3)?).ok()?;
    let has_no_body = || {
        let head = std::str::from_utf8(bytes).unwrap_or_default();
        head.lines().any(|line| line.eq_ignore_ascii_case("content-length: 0"))
    };
    (status.is_client_error() && has_no_body()).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypers_own_answers_are_told_apart() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(automatic(bytes).map(|status| status.as_u16()), expected);
        };
        check(b"HTTP/1.1 431 X\r\ncontent-length: 0\r\n\r\n", Some(431));
        check(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Some(400),
        );
        check(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\n\r\n0123456789", None);
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None);
        check(b"{\"data\":\"HTTP/1.1 400\"}", None);
    }
}
