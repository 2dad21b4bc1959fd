//! The listener of a filter with SCMP_ACT_NOTIFY: taken from the process that has loaded the filter, and sent to the agent
//! together with what the specification calls the container process state. The process' half is `init/listener.rs`.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::clone::Child;
use super::sockets;
use crate::bundle::OCI_VERSION;
use crate::init::listener::RINGS;
use crate::plan::seccomp::Listener;
use crate::state::view::HookState;
use crate::sync::{Channel, Kind, Packet};
use crate::sys::SysError;
use crate::sys::process::pidfd_getfd;

/// The runtime-spec's name for the descriptor.
const FD_NAME: &str = "seccompFd";

/// What the agent is told (runtime-spec, config-linux, "The Container Process State").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    /// Of the process that is asked about, on the host.
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a HookState<'a>,
}

/// One process whose calls an agent will answer.
#[derive(Debug)]
pub struct Handover<'a> {
    pub agent: &'a Listener,
    /// The process.
    pub child: &'a Child,
    pub channel: &'a Channel,
    /// The container's.
    pub state: HookState<'a>,
}

/// Rings when the filter is loaded. The process goes on when this is dropped.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    /// The listener's number in the process.
    number: RawFd,
}

impl Handover<'_> {
    /// Answers the process' word that it is about to load the filter, or takes the listener that it sends itself.
    ///
    /// # Errors
    /// The agent cannot be reached, or the filter would ask it about the call that brings the listener.
    pub fn answer(&self, packet: Packet) -> Result<Option<Bell>> {
        let Ok(number) = <[u8; 4]>::try_from(packet.body.as_slice()).map(RawFd::from_ne_bytes) else {
            let listener = packet.fd.context("internal error: no listener came")?;
            self.send(&listener)?;
            return Ok(None);
        };
        // Whether we may is the same for every descriptor, so try it with the one that we have been sent a copy of.
        let bell = packet.fd.filter(|_| pidfd_getfd(self.child.pidfd.as_fd(), number).is_ok());
        if bell.is_none() && self.agent.asks_about_sendmsg {
            bail!(
                "linux.seccomp: SCMP_ACT_NOTIFY of sendmsg needs privileges over the host and userfaultfd(2) \
                 (hint: without them the listener itself is brought by sendmsg)"
            );
        }
        self.channel.send(Kind::Done, if bell.is_some() { &RINGS } else { &[] })?;
        Ok(bell.map(|fd| Bell { fd, number }))
    }

    /// Brings the listener of a filter that is loaded to the agent.
    pub fn fetch(&self, bell: Bell) -> Result<()> {
        self.send(&pidfd_getfd(self.child.pidfd.as_fd(), bell.number)?)
    }

    fn send(&self, listener: &OwnedFd) -> Result<()> {
        let state = ProcessState {
            oci_version: OCI_VERSION,
            fds: [FD_NAME],
            pid: self.child.pid,
            metadata: self.agent.metadata.as_deref(),
            state: &self.state,
        };
        let state = serde_json::to_string(&state).context("the container process state")?;
        let send = || sockets::send(sockets::connect_stream(&self.agent.path)?.as_fd(), &state, listener.as_fd());
        send().context("linux.seccomp.listenerPath (hint: the agent must listen on this unix socket)")
    }
}

impl Bell {
    /// True when it rings; false when the channel has something to say first.
    pub fn wait(&self, channel: &Channel) -> Result<bool> {
        loop {
            let mut fds = [self.poll_fd(), PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => return Ok(fds[0].any().unwrap_or(false)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::new("poll()", errno).into()),
            }
        }
    }

    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)
    }
}
