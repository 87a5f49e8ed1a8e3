//! How do the bytes of an answer get to whoever asked?

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::sleep;

use super::Effect;

/// An answer on its way.
pub(super) struct Delivery {
    effect: Option<Effect>,
    /// Bytes of it that may still be sent.
    left: Option<u64>,
}

/// Why the rest of an answer is not sent.
#[derive(Debug)]
pub(super) enum Cut {
    /// The effect says so.
    Closed,
    Reset,
    /// Whoever asked is gone.
    Gone,
}

impl Delivery {
    /// `sent`: what the connection has carried before.
    pub(super) fn new(effect: Option<Effect>, sent: u64) -> Self {
        let left = match effect {
            Some(Effect::LimitData { bytes }) => Some(bytes.saturating_sub(sent)),
            Some(Effect::ResetPeer { within, .. }) => {
                Some(u64::from(fastrand::u32(..within.max(1))))
            }
            _ => None,
        };
        Self { effect, left }
    }

    /// The first line and the headers.
    pub(super) async fn head<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        bytes: &[u8],
    ) -> Result<(), Cut> {
        match self.effect {
            Some(Effect::Drip { .. } | Effect::Truncated) => Ok(to.write_all(bytes).await?),
            _ => self.send(to, bytes).await,
        }
    }

    /// A piece of the body.
    pub(super) async fn piece<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        bytes: &[u8],
    ) -> Result<(), Cut> {
        match self.effect {
            Some(Effect::Truncated) => {
                to.write_all(&bytes[..bytes.len() / 2]).await?;
                to.flush().await?;
                Err(Cut::Closed)
            }
            Some(Effect::Drip { every }) => sliced(to, bytes, 1, every).await,
            _ => self.send(to, bytes).await,
        }
    }

    async fn send<W: AsyncWrite + Unpin>(&mut self, to: &mut W, bytes: &[u8]) -> Result<(), Cut> {
        match self.effect {
            Some(Effect::Latency { delay, jitter }) => {
                sleep(delay + jitter.mul_f64(fastrand::f64())).await;
            }
            Some(Effect::Bandwidth { bytes_per_second }) => {
                let tenth = (bytes_per_second as usize / 10).max(1);
                return sliced(to, bytes, tenth, Duration::from_millis(100)).await;
            }
            Some(Effect::Slicer { size, delay }) => return sliced(to, bytes, size, delay).await,
            _ => {}
        }
        let most = self.left.map_or(bytes.len() as u64, |left| left.min(bytes.len() as u64));
        let (now, later) = bytes.split_at(usize::try_from(most).unwrap_or(bytes.len()));
        to.write_all(now).await?;
        to.flush().await?;
        self.left = self.left.map(|left| left - most);
        match (self.left, self.effect) {
            (Some(0), Some(Effect::ResetPeer { .. })) => Err(Cut::Reset),
            _ if !later.is_empty() => Err(Cut::Closed),
            _ => Ok(()),
        }
    }
}

async fn sliced<W: AsyncWrite + Unpin>(
    to: &mut W,
    bytes: &[u8],
    size: usize,
    delay: Duration,
) -> Result<(), Cut> {
    for slice in bytes.chunks(size.max(1)) {
        to.write_all(slice).await?;
        to.flush().await?;
        sleep(delay).await;
    }
    Ok(())
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}
