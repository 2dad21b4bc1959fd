//! A connection to systemd's D-Bus: finding it, authenticating, calls and what comes back. It has one deadline, starts no
//! thread, and its descriptor is close-on-exec. Not for what is said over it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::super::Deadline;
use super::message::{Call, Message};
use crate::plan::cgroup::gvariant::Value;
use crate::sys::again::again;

/// How long systemd may take, all in all: runc's patience.
pub const PATIENCE: Duration = Duration::from_secs(30);

const DBUS: &str = "org.freedesktop.DBus";

/// Where systemd can be spoken to.
enum Address {
    /// Its own socket: nobody between.
    Private(PathBuf),
    /// The message bus.
    Bus(PathBuf),
    /// A bus with a name in place of a path.
    AbstractBus(String),
}

#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    deadline: Deadline,
    serial: u32,
    /// Calls that have not been sent yet.
    out: Vec<u8>,
    /// What has come and has not been read yet.
    input: Vec<u8>,
}

impl Bus {
    /// Connects to the user's systemd or to the system's.
    ///
    /// # Errors
    /// There is none, or it does not let us in.
    pub fn connect(user: bool) -> Result<Self> {
        let deadline = Deadline::after(PATIENCE);
        let mut refused = Vec::new();
        for address in if user { user_addresses()? } else { system_addresses() } {
            match open(&address) {
                Ok(stream) => {
                    let mut bus = Self { stream, deadline, serial: 0, out: Vec::new(), input: Vec::new() };
                    let said = bus.authenticate().and_then(|()| bus.greet(&address));
                    return said.with_context(|| format!("systemd at {address}")).map(|()| bus);
                }
                // The next way; a full backlog has been waited for (EAGAIN) and is not one.
                Err(errno) if errno != Errno::EAGAIN => refused.push(format!("{address}: {}", errno.desc())),
                Err(_) => bail!("systemd at {address} took no connection within {} s", PATIENCE.as_secs()),
            }
        }
        let whose = if user { "the user's systemd" } else { "systemd" };
        let hint = if user {
            "is the user's session running? loginctl enable-linger starts one"
        } else {
            "use the cgroupfs driver where systemd does not run"
        };
        bail!("--systemd-cgroup: {whose} cannot be reached ({}) (hint: {hint})", refused.join("; "))
    }

    /// By the credentials of the socket, in which the kernel tells who we are outside of a user namespace, too: so we
    /// name nobody, and answer the question for more with nothing, before it comes.
    fn authenticate(&mut self) -> Result<()> {
        self.out.extend(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.flush()?;
        // An old systemd is content with the first line already.
        for expected in ["DATA", "OK "] {
            let line = self.line()?;
            if !line.starts_with(expected) && !line.starts_with("OK ") {
                bail!("it does not know us: {line:?}");
            }
        }
        Ok(())
    }

    /// What a bus wants first, and only it. Both go out with the first call.
    fn greet(&mut self, address: &Address) -> Result<()> {
        if let Address::Private(_) = address {
            return Ok(());
        }
        let path = "/org/freedesktop/DBus";
        let hello = Call { destination: DBUS, path, interface: DBUS, member: "Hello", arguments: &[] };
        self.queue(&hello);
        let rule = "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',\
                    member='JobRemoved'";
        self.queue(&Call { member: "AddMatch", arguments: &[Value::Text(rule.into())], ..hello });
        Ok(())
    }

    /// Adds a call to what [`Self::flush`] sends; its serial number.
    pub fn queue(&mut self, call: &Call<'_>) -> u32 {
        self.serial += 1;
        self.out.extend(call.encode(self.serial));
        self.serial
    }

    pub fn flush(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(e) => {
                    may_go_on(e)?;
                    self.wait(PollFlags::POLLOUT)?;
                }
            }
        }
        Ok(())
    }

    /// The next message.
    pub fn receive(&mut self) -> Result<Message> {
        loop {
            if let Some(length) = Message::length(&self.input)?
                && self.input.len() >= length
            {
                let message = Message::parse(&self.input[..length])?;
                self.input.drain(..length);
                return Ok(message);
            }
            self.fill()?;
        }
    }

    /// A line of the authentication.
    fn line(&mut self) -> Result<String> {
        const LONGEST: usize = 4096;
        loop {
            if let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                return Ok(line);
            }
            if self.input.len() > LONGEST {
                bail!("it does not speak D-Bus");
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        self.wait(PollFlags::POLLIN)?;
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("it has closed the connection"),
            Ok(count) => self.input.extend(&buffer[..count]),
            Err(e) => may_go_on(e)?,
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        if self.deadline.passed() {
            return Err(anyhow!(TimedOut));
        }
        let mut fds = [PollFd::new(self.stream.as_fd(), events)];
        match poll(&mut fds, PollTimeout::from(self.deadline.millis())) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("poll(systemd)"),
        }
    }
}

/// A call that would have to wait, or was interrupted, is no failure.
fn may_go_on(error: io::Error) -> Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(()),
        _ => Err(error).context("the connection broke"),
    }
}

/// systemd has not answered in time.
#[derive(Debug)]
pub struct TimedOut;

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "systemd did not answer within {} s", PATIENCE.as_secs())
    }
}

impl std::error::Error for TimedOut {}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Private(path) | Self::Bus(path) => path.display().fmt(f),
            Self::AbstractBus(name) => write!(f, "@{name}"),
        }
    }
}

fn system_addresses() -> Vec<Address> {
    // The first takes root alone; where we are root of a container that has the bus mounted, only the second is there.
    vec![Address::Private("/run/systemd/private".into()), Address::Bus("/run/dbus/system_bus_socket".into())]
}

fn user_addresses() -> Result<Vec<Address>> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let mut all: Vec<Address> = runtime.iter().map(|dir| Address::Private(dir.join("systemd/private"))).collect();
    let session = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    all.extend(session.split(';').filter_map(session_bus));
    all.extend(runtime.map(|dir| Address::Bus(dir.join("bus"))));
    if all.is_empty() {
        bail!(
            "--systemd-cgroup: the user's systemd cannot be found: neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS is set (hint: a login sets them)"
        );
    }
    Ok(all)
}

/// One of the addresses in DBUS_SESSION_BUS_ADDRESS, such as `unix:path=/run/user/1000/bus,guid=…`.
fn session_bus(address: &str) -> Option<Address> {
    let values = address.strip_prefix("unix:")?;
    values.split(',').find_map(|value| match value.split_once('=')? {
        ("path", path) => Some(Address::Bus(unescape(path)?.into())),
        ("abstract", name) => Some(Address::AbstractBus(unescape(name)?)),
        _ => None,
    })
}

/// `%2f` and the like (D-Bus Specification, "Server Addresses").
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).ok()
}

fn open(address: &Address) -> Result<UnixStream, Errno> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Where many containers start at once its backlog is full now and then: connect(2) waits so long.
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE.as_secs() as i64))?;
    let to = match address {
        Address::Private(path) | Address::Bus(path) => UnixAddr::new(path)?,
        Address::AbstractBus(name) => UnixAddr::new_abstract(name.as_bytes())?,
    };
    again(|| connect(socket.as_raw_fd(), &to))?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(true).map_err(|_| Errno::last())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_bus_is_found_by_its_address() {
        let text = |address: &str| session_bus(address).map(|address| address.to_string());
        assert_eq!(text("unix:path=/run/user/1/bus,guid=ab"), Some("/run/user/1/bus".into()));
        assert_eq!(text("unix:abstract=/tmp/x"), Some("@/tmp/x".into()));
        assert_eq!(text("unix:path=/a%20b"), Some("/a b".into()));
        for none in ["tcp:host=x", "unix:path=/%zz", "unix:dir=/x", "", "unix:path=%2"] {
            assert_eq!(text(none), None, "{none}");
        }
    }
}
