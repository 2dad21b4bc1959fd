//! The sockets on which clients of a runtime listen: for a terminal, for a pidfd, for a service's readiness.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use nix::sys::socket::{UnixAddr, recvmsg};

use super::sys;

/// Receives one descriptor by SCM_RIGHTS: `--console-socket`, `--pidfd-socket`.
pub struct FdReceiver {
    listener: UnixListener,
    pub path: PathBuf,
}

impl FdReceiver {
    pub fn new(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("bind");
        Self { listener, path }
    }

    /// Turns away whoever has connected and sent nothing: a command that failed.
    pub fn discard(&self) {
        while sys::wait_readable(self.listener.as_fd(), std::time::Duration::ZERO) {
            self.listener.accept().expect("accept");
        }
    }

    /// The descriptor and the text that came with it.
    #[track_caller]
    pub fn receive(&self) -> (OwnedFd, String) {
        let came = sys::wait_readable(self.listener.as_fd(), sys::DEADLINE);
        assert!(came, "nobody connects to {}", self.path.display());
        let (stream, _) = self.listener.accept().expect("accept");
        assert!(sys::wait_readable(stream.as_fd(), sys::DEADLINE), "no message");
        let mut text = [0; 256];
        let mut control = nix::cmsg_space!([i32; 4]);
        let mut parts = [IoSliceMut::new(&mut text)];
        let (mut fds, bytes) = {
            let received = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut parts, Some(&mut control), sys::RECEIVE);
            let received = received.expect("recvmsg");
            (sys::received_fds(&received), received.bytes)
        };
        assert_eq!(fds.len(), 1, "one descriptor is sent");
        let text = String::from_utf8_lossy(&text[..bytes]).into_owned();
        (fds.remove(0), text)
    }
}

/// A service manager's notification socket (sd_notify).
pub struct NotifySocket {
    messages: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    pub path: PathBuf,
}

/// What ends the reader.
const END: &str = "END";

impl NotifySocket {
    /// Reads in a thread of its own: whoever sends BARRIER=1 waits until its descriptor is closed here, as every
    /// message's descriptors are.
    pub fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("bind");
        let (sender, messages) = channel();
        let reader = std::thread::spawn(move || {
            let mut text = [0; 4096];
            while let Ok(length) = socket.recv(&mut text) {
                let text = String::from_utf8_lossy(&text[..length]).into_owned();
                if text == END || sender.send(text).is_err() {
                    break;
                }
            }
        });
        Self { messages, reader: Some(reader), path: path.to_owned() }
    }

    /// The next message.
    #[track_caller]
    pub fn message(&self) -> String {
        self.messages.recv_timeout(sys::longest()).expect("no notification")
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(END.as_bytes(), &self.path));
        if let (Ok(_), Some(reader)) = (sent, self.reader.take()) {
            reader.join().ok();
        }
    }
}
