//! A connection whose first bytes have been looked at: they come again, and what
//! passes is counted.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::kernel::{Kernel, clients::Protocol};

/// See the module.
pub struct Stream {
    tcp: TcpStream,
    /// Read from the connection, but not by the protocol yet.
    opening: Vec<u8>,
    taken: usize,
    opened: Instant,
    kernel: Kernel,
    protocol: Protocol,
}

impl Stream {
    pub(super) fn new(
        tcp: TcpStream,
        opening: Vec<u8>,
        opened: Instant,
        kernel: Kernel,
        protocol: Protocol,
    ) -> Self {
        Self { tcp, opening, taken: 0, opened, kernel, protocol }
    }

    /// When the connection was opened, which is before the first bytes came.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    fn count(&self, of: impl Fn(&super::Traffic) -> &AtomicU64, bytes: usize) {
        of(self.kernel.metrics().traffic(self.protocol)).fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.taken < self.opening.len() {
            let rest = &self.opening[self.taken..];
            let length = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..length]);
            self.taken += length;
            if self.taken == self.opening.len() {
                (self.opening, self.taken) = (Vec::new(), 0);
            }
        } else {
            ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        }
        self.count(|traffic| &traffic.bytes_in, buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(context, bytes))?;
        self.count(|traffic| &traffic.bytes_out, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, pieces))?;
        self.count(|traffic| &traffic.bytes_out, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
