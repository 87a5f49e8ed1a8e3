//! What two processes say to each other: frames, each with a bound.
//!
//! A length, a kind, and a body, which is JSON where it is not empty. The first one begins with the
//! name of the protocol and its version. Whatever is not one of these ends the conversation: nothing
//! is skipped, and nothing is read that is longer than its kind can be.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// Begins the first frame.
pub const MAGIC: &[u8; 16] = b"vaultlet-upgrade";

/// Of what follows.
pub const VERSION: u16 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// The new process asks to take over.
    Hello = 1,
    /// The old one does not let it, or cannot go on; why.
    Refused,
    /// The names of the sockets; they themselves come with one more byte.
    Sockets,
    /// What is known, without the secrets of KV mounts.
    State,
    /// Some of those.
    Entries,
    /// That was all.
    Whole,
    /// The new process could answer callers.
    Ready,
    /// It may.
    Go,
    /// It does.
    Taken,
    /// What has become untrue.
    News,
    /// So many news were taken in.
    Heard,
    /// Leases and logins are the new process's to keep alive.
    Yours,
    /// What came into being in the old process meanwhile; its last word.
    Rest,
}

const KINDS: [Kind; 13] = [
    Kind::Hello,
    Kind::Refused,
    Kind::Sockets,
    Kind::State,
    Kind::Entries,
    Kind::Whole,
    Kind::Ready,
    Kind::Go,
    Kind::Taken,
    Kind::News,
    Kind::Heard,
    Kind::Yours,
    Kind::Rest,
];

/// One thing that is said. Its body may hold secrets, and is wiped.
#[derive(Debug)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its body.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why nothing more is read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other process has closed the connection, or died.
    #[error("it has ended the conversation")]
    Ended,
    /// In the middle of a frame.
    #[error("it has ended in the middle of a sentence")]
    Cut,
    /// It is nothing that is said here.
    #[error("what came is none of the words of this protocol")]
    Garbage,
    /// There is a bound for each kind.
    #[error("a frame of {0} bytes is longer than it can be")]
    Long(u32),
    /// The connection.
    #[error("the connection failed: {0}")]
    Failed(#[from] io::Error),
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        KINDS.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// Bytes of a body, at most.
    fn most(self) -> u32 {
        match self {
            Self::Hello | Self::Refused | Self::Sockets | Self::Heard => 64 << 10,
            Self::Whole | Self::Ready | Self::Go | Self::Taken | Self::Yours => 0,
            Self::News => 16 << 20,
            // As many leases and logins as a node can have, and the largest answer that is kept.
            Self::State | Self::Entries | Self::Rest => 512 << 20,
        }
    }
}

impl Frame {
    /// One without a body.
    pub fn bare(kind: Kind) -> Self {
        Self { kind, body: Zeroizing::default() }
    }

    /// One with this body.
    pub fn new(kind: Kind, body: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self { kind, body: body.into() }
    }

    /// The next one.
    ///
    /// # Errors
    /// There is none, or what comes cannot be one.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self, Broken> {
        let mut head = [0; 5];
        if from.read(&mut head[..1]).await? == 0 {
            return Err(Broken::Ended);
        }
        exactly(from, &mut head[1..]).await?;
        let [a, b, c, d, kind] = head;
        let (length, kind) = (u32::from_be_bytes([a, b, c, d]), Kind::of(kind));
        let kind = kind.ok_or(Broken::Garbage)?;
        if length > kind.most() {
            return Err(Broken::Long(length));
        }
        // Its memory is taken at once: what a buffer that grows leaves behind is not wiped.
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        while body.len() < length {
            let left = (length - body.len()) as u64;
            if (&mut *from).take(left).read_buf(&mut *body).await? == 0 {
                return Err(Broken::Cut);
            }
        }
        Ok(Self { kind, body })
    }

    /// Says it.
    ///
    /// # Errors
    /// It is longer than its kind can be, or the connection failed.
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = u32::try_from(self.body.len()).ok().filter(|it| *it <= self.kind.most());
        let length = length.ok_or_else(|| io::Error::other("too much for one frame"))?;
        let [a, b, c, d] = length.to_be_bytes();
        to.write_all(&[a, b, c, d, self.kind as u8]).await?;
        to.write_all(&self.body).await?;
        to.flush().await
    }
}

async fn exactly(from: &mut (impl AsyncRead + Unpin), bytes: &mut [u8]) -> Result<(), Broken> {
    match from.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Broken::Cut),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::runtime::Builder;

    use super::*;

    /// All frames in these bytes, and what ended them.
    fn read(mut bytes: &[u8]) -> (Vec<Frame>, Broken) {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut frames = Vec::new();
            loop {
                match Frame::read(&mut bytes).await {
                    Ok(frame) => frames.push(frame),
                    Err(broken) => return (frames, broken),
                }
            }
        })
    }

    fn written(frames: &[Frame]) -> Vec<u8> {
        let runtime = Builder::new_current_thread().build().unwrap();
        let mut bytes = Vec::new();
        for frame in frames {
            runtime.block_on(frame.write(&mut bytes)).unwrap();
        }
        bytes
    }

    #[test]
    fn each_kind_is_read_as_it_was_written() {
        for kind in KINDS {
            let body = if kind.most() > 0 { b"{}".to_vec() } else { Vec::new() };
            let (frames, broken) = read(&written(&[Frame::new(kind, body.clone())]));

            assert!(matches!(broken, Broken::Ended), "{broken}");
            assert_eq!((frames[0].kind, &*frames[0].body), (kind, &body));
        }
    }

    #[test]
    fn what_is_too_long_is_not_read_and_not_written() {
        let runtime = Builder::new_current_thread().build().unwrap();
        for kind in KINDS {
            let [a, b, c, d] = (kind.most() + 1).to_be_bytes();
            let (frames, broken) = read(&[a, b, c, d, kind as u8]);
            assert!(frames.is_empty() && matches!(broken, Broken::Long(_)), "{kind:?}");
        }
        let long = Frame::new(Kind::Hello, vec![0; (64 << 10) + 1]);
        assert!(runtime.block_on(long.write(&mut Vec::new())).is_err());
        assert!(matches!(read(b"GET / HTTP/1.1\r\n\r\n").1, Broken::Garbage | Broken::Long(_)));
    }

    proptest! {
        /// Nothing panics, takes memory for what is not there, or makes a frame of what is none.
        #[test]
        fn whatever_comes_is_frames_or_an_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let (frames, _) = read(&bytes);

            let again = written(&frames);
            prop_assert_eq!(&bytes[..again.len()], &again[..]);
        }

        #[test]
        fn a_conversation_that_is_cut_anywhere_is_read_up_to_there(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let frames: Vec<_> =
                bodies.into_iter().map(|body| Frame::new(Kind::Entries, body)).collect();
            let bytes = written(&frames);
            let cut = cut.index(bytes.len());

            let (whole, broken) = read(&bytes[..cut]);

            let end = written(&frames[..whole.len()]).len();
            prop_assert!(end <= cut);
            prop_assert_eq!(matches!(broken, Broken::Ended), end == cut);
        }
    }
}
