//! The child's end of the wire to its parent, and the seccomp filter that may come over it before its turn.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Result, bail};

use crate::sync::{Channel, Kind, Packet, failure};
use crate::sys::process::exit_now;

/// What the child asks of its parent goes through here.
#[derive(Debug)]
pub struct Wire {
    channel: Channel,
    /// The filter, once it has come.
    filter: Option<Vec<u8>>,
}

impl Wire {
    /// `filter`: where the child has it from the start.
    pub fn new(channel: Channel, filter: Option<Vec<u8>>) -> Self {
        Self { channel, filter }
    }

    /// Waits for the next packet of the kind expected, keeping a seccomp filter that comes before it.
    pub fn expect(&mut self, kind: Kind) -> Result<Packet> {
        loop {
            match self.channel.receive()? {
                Some(packet) if packet.kind == kind => return Ok(packet),
                Some(packet) if packet.kind == Kind::Seccomp => self.filter = Some(packet.body),
                Some(packet) => bail!("internal error: expected {kind:?} from the parent, got {:?}", packet.kind),
                // The parent has died: so must a process that nobody knows of.
                None => exit_now(1),
            }
        }
    }

    /// Asks the parent for something and waits until it has been done.
    pub fn ask(&mut self, request: Kind, body: &[u8], answer: Kind) -> Result<Packet> {
        self.channel.send(request, body)?;
        self.expect(answer)
    }

    /// [`Wire::ask`] with a descriptor.
    pub fn ask_about(&mut self, request: Kind, body: &[u8], fd: BorrowedFd<'_>, answer: Kind) -> Result<Packet> {
        self.channel.send_with(request, body, Some(fd))?;
        self.expect(answer)
    }

    /// Hands the parent a descriptor.
    pub fn give(&self, kind: Kind, fd: BorrowedFd<'_>) -> Result<()> {
        self.channel.send_with(kind, &[], Some(fd))
    }

    /// Tells the parent that all is made, and waits until that is on record. By read(2) and write(2) alone: a seccomp
    /// filter may be in force by now.
    pub fn ready(&mut self) -> Result<()> {
        self.channel.send(Kind::Ready, &[])?;
        match self.channel.receive_plain()? {
            Some(Kind::Committed) => Ok(()),
            Some(other) => bail!("internal error: expected Committed from the parent, got {other:?}"),
            None => exit_now(1),
        }
    }

    /// Waits for the filter, if it has not come yet.
    pub fn wait_for_filter(&mut self) -> Result<()> {
        if self.filter.is_none() {
            self.filter = Some(self.expect(Kind::Seccomp)?.body);
        }
        Ok(())
    }

    /// The filter, once.
    pub fn take_filter(&mut self) -> Option<Vec<u8>> {
        self.filter.take()
    }

    /// Tells the parent what went wrong. Nobody listens if it is gone; then there is nobody to tell either.
    pub fn fail(&self, phase: &str, text: &str) {
        let _ = self.channel.send(Kind::Failed, &failure(phase, text));
    }

    /// Reports a panic to the parent: under `panic = "abort"` it would only see a dead child.
    pub fn report_panics(&self) {
        let Ok(channel) = self.channel.as_fd().try_clone_to_owned() else { return };
        let channel = Channel::from(channel);
        std::panic::set_hook(Box::new(move |info| {
            let _ = channel.send(Kind::Failed, &failure("internal error", &info.to_string()));
            exit_now(1);
        }));
    }
}

impl From<Wire> for OwnedFd {
    fn from(wire: Wire) -> Self {
        wire.channel.into()
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
