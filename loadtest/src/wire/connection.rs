//! How is one connection opened, and what goes over it?
//!
//! The task that waits for an answer also does the connection's reading and writing: there is no
//! second task to be woken, and nobody has to look after those that are idle.

use std::fmt::Debug;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::{Address, Place};
use crate::stage::Answer;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// Does the reading and writing; `None` once the connection has come to its end.
#[derive(Debug)]
struct Driver(Option<http1::Connection<Io, Full<Bytes>>>);

type Io = TokioIo<Box<dyn Stream>>;

/// No answer came.
#[derive(Debug)]
pub(super) enum Lost {
    /// And nothing was sent.
    Unsent(Box<Request<Full<Bytes>>>),
    Broken,
}

/// Whatever bytes go over.
trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for T {}

impl Connection {
    pub(super) async fn open(address: &Address) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match &address.place {
            Place::Tcp(authority) => Box::new(tcp(authority).await?),
            Place::Tls { authority, name, config } => {
                let connector = TlsConnector::from(config.clone());
                Box::new(connector.connect(name.clone(), tcp(authority).await?).await?)
            }
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut driver = Driver(Some(driver));
        driver.turn(&mut Context::from_waker(Waker::noop()));
        Ok(Self { sender, driver })
    }

    /// Sends a request; the whole answer.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Lost> {
        let Self { sender, driver } = self;
        // What happened since the last answer: perhaps the server has closed it.
        driver.turn(&mut Context::from_waker(Waker::noop()));
        if driver.0.is_none() || !sender.is_ready() {
            return Err(Lost::Unsent(Box::new(request)));
        }
        let sent = sender.try_send_request(request);
        let mut answer = pin!(async {
            match sent.await {
                Ok(answer) => whole(answer).await.map_err(|_| Lost::Broken),
                Err(mut e) => Err(e
                    .take_message()
                    .map_or(Lost::Broken, |unsent| Lost::Unsent(Box::new(unsent)))),
            }
        });
        poll_fn(|cx| {
            driver.turn(cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            // The head is here, or nothing; what came with it is the body.
            driver.turn(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Whether another request may be sent on it.
    pub(super) fn is_open(&self) -> bool {
        self.driver.0.is_some() && !self.sender.is_closed()
    }
}

impl Driver {
    fn turn(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

async fn tcp(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Most bodies come in one piece, which is not copied.
async fn whole(answer: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut body) = answer.into_parts();
    let (mut first, mut more) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data);
        }
    }
    let body = if more.is_empty() { first } else { more.into() };
    Ok(Answer { status: head.status, headers: head.headers, body })
}
