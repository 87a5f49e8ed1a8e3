//! The proxy itself: a thread of its own, so that no load keeps it from failing in time.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::{Effect, Switch, door};

/// Attempts to connect that may wait to be taken in.
const QUEUE: u32 = 1024;

/// A running injector. Dropping it closes everything.
#[derive(Debug)]
pub(crate) struct Injector {
    pub(crate) switch: Switch,
    port: u16,
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Injector {
    /// In front of the server at `upstream`.
    pub(crate) fn start(upstream: SocketAddr) -> Result<Self, String> {
        let problem = |e: &dyn std::fmt::Display| format!("the injector does not start: {e}");
        let (switch, end) = (Switch::new(), CancellationToken::new());
        let (tell, told) = mpsc::channel();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| problem(&e))?;
        let (inside, until) = (switch.clone(), end.clone());
        let work = move || {
            runtime.block_on(async {
                let listener = door::open(0, QUEUE).await;
                let port = listener.as_ref().map_or(0, port);
                let _ = tell.send(port);
                if let Ok(listener) = listener {
                    tokio::select! {
                        () = until.cancelled() => {}
                        ended = listen(listener, port, upstream, inside) => {
                            if let Err(e) = ended {
                                eprintln!("chaos: the injector has ended: {e}");
                            }
                        }
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().name("injector".to_owned()).spawn(work);
        let thread = Some(thread.map_err(|e| problem(&e))?);
        match told.recv() {
            Ok(port) if port != 0 => Ok(Self { switch, port, end, thread }),
            _ => Err(problem(&"no port to listen on")),
        }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    #[cfg(test)]
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes connections in, as long as the switch allows it.
async fn listen(
    listener: TcpListener,
    port: u16,
    upstream: SocketAddr,
    switch: Switch,
) -> io::Result<()> {
    let mut watch = switch.watch();
    let mut listener = Some(listener);
    loop {
        let effect = Switch::on_connections(&watch.borrow_and_update());
        if let Some(effect) = effect {
            // The door that is open is closed first: two cannot have one port.
            drop(listener.take());
            let full = match effect {
                Effect::BlackHole => Some(door::shut(port).await?),
                _ => None,
            };
            if full.is_some() || door::refuses(port).await {
                switch.fire(effect);
            }
            let changed = watch.changed().await;
            drop(full);
            changed.map_err(io::Error::other)?;
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => door::open(port, QUEUE).await?,
        };
        let open = listener.insert(open);
        tokio::select! {
            accepted = open.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(Connection::new(stream, upstream, switch.clone()).serve());
            }
            changed = watch.changed() => changed.map_err(io::Error::other)?,
        }
    }
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}
