//! A seccomp agent: what listens on `listenerPath`, is told of processes, and answers their calls.

use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{UnixAddr, recvmsg};

use super::{Value, sys};

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: i64,
    /// Who makes it, in our pid namespace.
    pub pid: i32,
    pub id: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The kernel carries it out.
    Continue,
    Errno(i32),
    /// It returns this, and nothing is done.
    Return(i64),
    /// Closes the descriptor by which answers are given, without one.
    HangUp,
}

type Answers = dyn Fn(Call, &OwnedFd) -> Answer + Send + Sync;

/// Serves every process that it is told of, each by a thread.
pub struct Agent {
    pub path: PathBuf,
    states: Receiver<Value>,
    calls: Arc<Mutex<Vec<i64>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Agent {
    pub fn new(path: PathBuf, answer: impl Fn(Call, &OwnedFd) -> Answer + Send + Sync + 'static) -> Self {
        let socket = UnixListener::bind(&path).expect("bind");
        let (sender, states) = channel();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer): (_, Arc<Answers>) = (calls.clone(), Arc::new(answer));
        let accepting = std::thread::spawn(move || {
            while let Ok((stream, _)) = socket.accept() {
                let Some((state, fd)) = told(stream) else { return };
                sender.send(state).ok();
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || serve(fd, &seen, &*answer));
            }
        });
        Self { path, states, calls, accepting: Some(accepting) }
    }

    /// What the agent was told of the next process: the container process state.
    #[track_caller]
    pub fn told(&self) -> Value {
        self.states.recv_timeout(sys::longest()).expect("the agent is not told of a process")
    }

    pub fn told_nothing(&self) -> bool {
        self.states.try_recv().is_err()
    }

    /// The numbers of the calls that have been asked about.
    pub fn calls(&self) -> Vec<i64> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A connection without a word ends the thread.
        drop(UnixStream::connect(&self.path));
        if let Some(thread) = self.accepting.take() {
            thread.join().ok();
        }
    }
}

/// Reads one message: a document that ends with the connection, and one descriptor.
fn told(mut stream: UnixStream) -> Option<(Value, OwnedFd)> {
    let mut text = vec![0; 64 * 1024];
    let mut control = nix::cmsg_space!([i32; 4]);
    let (mut fds, bytes) = {
        let mut parts = [IoSliceMut::new(&mut text)];
        let received = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut parts, Some(&mut control), sys::RECEIVE).ok()?;
        (sys::received_fds(&received), received.bytes)
    };
    text.truncate(bytes);
    stream.read_to_end(&mut text).expect("the connection is to be closed");
    if text.is_empty() {
        return None;
    }
    assert_eq!(fds.len(), 1, "one descriptor is sent");
    Some((serde_json::from_slice(&text).expect("JSON"), fds.remove(0)))
}

/// Answers until nobody is left who could ask.
fn serve(listener: OwnedFd, seen: &Mutex<Vec<i64>>, answer: &Answers) {
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        if !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
            return;
        }
        // Gone already when a signal ended the call.
        let Some(call) = sys::receive_call(&listener) else { continue };
        seen.lock().unwrap().push(call.number);
        match answer(call, &listener) {
            Answer::HangUp => return,
            answer => sys::answer_call(&listener, call, answer),
        }
    }
}
