//! What happens on one connection: request by request, to the upstream and back.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::delivery::{Cut, Delivery};
use super::{Effect, Switch, Toxic, answers};
use crate::http1::{Head, Reader};

/// A connection that vaultlet has made.
pub(super) struct Connection {
    switch: Switch,
    upstream: SocketAddr,
    from: Reader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    /// To the upstream, once there was something to send.
    behind: Option<(Reader<OwnedReadHalf>, OwnedWriteHalf)>,
    /// Bytes of answers so far.
    carried: u64,
}

/// What becomes of a connection.
enum Next {
    Another,
    Close,
    Reset,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, upstream: SocketAddr, switch: Switch) -> Self {
        // Only that would make it slower; an error is a connection that is gone.
        let _ = stream.set_nodelay(true);
        let (from, to) = stream.into_split();
        Self { switch, upstream, from: Reader::new(from), to, behind: None, carried: 0 }
    }

    /// Until one side ends it, or the switch.
    pub(super) async fn serve(mut self) {
        let mut watch = self.switch.watch();
        let effect = tokio::select! {
            next = self.exchanges() => Err(next),
            effect = told(&mut watch, true) => Ok(effect),
        };
        let effect = match effect {
            Err(next) => return self.end(next).await,
            Ok(effect) => effect,
        };
        self.behind = None;
        if effect == Some(Effect::BlackHole) {
            tokio::select! {
                () = self.swallow() => {}
                _ = told(&mut watch, false) => {}
            }
            // What was lost is lost: whoever waits is told nothing, not even that it is over.
            told(&mut watch, false).await;
        } else {
            self.switch.fire(Effect::Down);
        }
        self.end(Next::Reset).await;
    }

    /// Takes what comes, and never answers.
    async fn swallow(&mut self) {
        let mut buffer = [0; 4096];
        let mut first = true;
        while let Ok(1..) = self.from.stream.read(&mut buffer).await {
            if first {
                self.switch.fire(Effect::BlackHole);
            }
            first = false;
        }
    }

    async fn exchanges(&mut self) -> Next {
        loop {
            match self.exchange().await {
                Ok(Next::Another) => {}
                Ok(next) => return next,
                // One of the two sides went away in the middle.
                Err(Cut::Closed | Cut::Gone) => return Next::Close,
                Err(Cut::Reset) => return Next::Reset,
            }
        }
    }

    async fn exchange(&mut self) -> Result<Next, Cut> {
        let Some(request) = self.from.head().await? else { return Ok(Next::Close) };
        let mut sent = request.bytes.clone();
        let mut rest = request.of_request();
        while let Some(piece) = self.from.piece(&mut rest).await? {
            sent.extend_from_slice(&piece.raw);
        }
        self.switch.count(&request);
        let effect = self.switch.on(&request);
        match effect {
            // Felt when a connection is closed.
            None | Some(Effect::SlowClose { .. }) => {}
            Some(effect) => self.switch.fire(effect),
        }
        match effect {
            Some(Effect::Timeout { after }) => {
                sleep(after).await;
                return Ok(Next::Close);
            }
            Some(Effect::ResetPeer { after, .. }) => sleep(after).await,
            Some(Effect::Download { bytes }) => return self.download(bytes).await,
            Some(effect) => {
                if let Some((bytes, again)) = answers::instead(effect, &request) {
                    self.to.write_all(&bytes).await?;
                    return Ok(if again { Next::Another } else { Next::Close });
                }
            }
            None => {}
        }
        self.pass(&request, &sent, effect).await
    }

    /// Has the upstream answer.
    async fn pass(
        &mut self,
        request: &Head,
        sent: &[u8],
        effect: Option<Effect>,
    ) -> Result<Next, Cut> {
        let (reader, writer) = match &mut self.behind {
            Some(behind) => behind,
            none => {
                let stream = TcpStream::connect(self.upstream).await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                none.insert((Reader::new(reader), writer))
            }
        };
        writer.write_all(sent).await?;
        let mut delivery = Delivery::new(effect, self.carried);
        let answer = loop {
            let answer = reader.head().await?.ok_or(Cut::Gone)?;
            if !(100..200).contains(&answer.status()) {
                break answer;
            }
            self.to.write_all(&answer.bytes).await?;
        };
        self.carried += answer.bytes.len() as u64;
        delivery.head(&mut self.to, &answer.bytes).await?;
        let mut rest = answer.of_answer(request.method());
        while let Some(piece) = reader.piece(&mut rest).await? {
            self.carried += piece.raw.len() as u64;
            delivery.piece(&mut self.to, &piece.raw).await?;
        }
        let last = answer.closes() || request.closes();
        Ok(if last { Next::Close } else { Next::Another })
    }

    async fn download(&mut self, bytes: u64) -> Result<Next, Cut> {
        self.to.write_all(&answers::download(bytes)).await?;
        let piece = vec![b'x'; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(piece.len()).min(piece.len());
            self.to.write_all(&piece[..now]).await?;
            left -= now as u64;
        }
        Ok(Next::Another)
    }

    async fn end(self, next: Next) {
        match next {
            Next::Reset => {
                if let Ok(stream) = self.from.stream.reunite(self.to) {
                    // Without it the other side would see an orderly end.
                    let _ = stream.set_zero_linger();
                }
            }
            Next::Another | Next::Close => {
                if let Some(delay) = self.switch.on_close() {
                    self.switch.fire(Effect::SlowClose { delay });
                    sleep(delay).await;
                }
            }
        }
    }
}

/// Waits until something is done to connections, or nothing is.
async fn told(watch: &mut watch::Receiver<Arc<[Toxic]>>, something: bool) -> Option<Effect> {
    let toxics =
        watch.wait_for(|toxics| Switch::on_connections(toxics).is_some() == something).await;
    // Without a switch there is nothing to be told.
    toxics.map_or(None, |toxics| Switch::on_connections(&toxics))
}
