//! rtnetlink(7): the few requests that move a network device. Not a general client: a request is answered before the
//! next is made, and attributes that are not named here are not looked at.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, socket,
};

use super::{Result, SysError};

/// Bytes of the headers (linux/netlink.h, linux/rtnetlink.h).
const MESSAGE_HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ATTRIBUTE_HEADER: usize = 4;

/// The kernel sends no datagram that is larger (`netlink_dump` in net/netlink/af_netlink.c makes them of 32 KiB).
const BUFFER: usize = 64 * 1024;

/// How often a list is asked for again that changed while it was read.
const RETRIES: usize = 16;

/// Attributes of an address that are not carried over: they are made anew, or belong to the name of the old device.
const NOT_COPIED: [u16; 2] = [libc::IFA_LABEL, libc::IFA_FLAGS];

/// Flags of an address that whoever adds it can set; all others tell what came of it (linux/if_addr.h).
const SETTABLE_FLAGS: u32 = 0x02 // IFA_F_NODAD
    | 0x04 // IFA_F_OPTIMISTIC
    | 0x10 // IFA_F_HOMEADDRESS
    | 0x100 // IFA_F_MANAGETEMPADDR
    | 0x200 // IFA_F_NOPREFIXROUTE
    | 0x400; // IFA_F_MCAUTOJOIN

/// A network device in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    /// The device's own name, also when it was looked up by an alternative one.
    pub name: String,
    pub up: bool,
}

/// An address of a device as the kernel told it, enough to give it to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Set by somebody to last, not learned for a time.
    pub fn is_permanent(&self) -> bool {
        self.flags & u32::from(libc::IFA_F_PERMANENT as u8) != 0
    }

    /// Valid everywhere: not of this link or this host only.
    pub fn is_global(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE
    }
}

/// A socket in the network namespace in which it was opened.
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl Route {
    /// Opens a socket in the network namespace of the calling thread. It stays there when the thread leaves.
    pub fn open() -> Result<Self> {
        let fail = |call: &'static str| move |errno| SysError::new(call, errno);
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Netlink, kind, flags, SockProtocol::NetlinkRoute)
            .map_err(fail("socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)"))?;
        // Connected to the kernel, the socket takes messages from nobody else.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(fail("connect(AF_NETLINK, kernel)"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The device called `name`. `ENODEV` when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        let call = || format!("RTM_GETLINK({name:?})");
        let request = Request::link(libc::RTM_GETLINK, 0, None).text(libc::IFLA_IFNAME, name);
        let replies = self.ask(request, 0, call)?;
        let body = replies.first().filter(|body| body.len() >= LINK_HEADER);
        let body = body.ok_or_else(|| SysError::new(call(), Errno::EBADMSG))?;
        let own_name = attributes(&body[LINK_HEADER..]).find(|(kind, _)| *kind == libc::IFLA_IFNAME);
        let own_name = own_name.map_or(name.as_bytes(), |(_, value)| value.strip_suffix(b"\0").unwrap_or(value));
        Ok(Link {
            index: u32_at(body, 4),
            name: String::from_utf8_lossy(own_name).into_owned(),
            up: u32_at(body, 8) & libc::IFF_UP as u32 != 0,
        })
    }

    /// All addresses of the device `index`, of all families, in the kernel's order.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        let call = || "RTM_GETADDR".to_owned();
        for _ in 0..RETRIES {
            let request = Request::new(libc::RTM_GETADDR, &[0; ADDRESS_HEADER]);
            match self.ask(request, libc::NLM_F_DUMP, call) {
                // The list changed while it was read.
                Err(SysError { errno: Errno::EINTR, .. }) => {}
                Err(error) => return Err(error),
                Ok(replies) => {
                    let ours = replies.iter().filter(|body| body.len() >= ADDRESS_HEADER && u32_at(body, 4) == index);
                    return Ok(ours.map(|body| address(body)).collect());
                }
            }
        }
        Err(SysError::new(call(), Errno::EINTR))
    }

    /// Brings the device `index` up or down. Down, it loses its IPv6 addresses.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<()> {
        let call = || format!("RTM_NEWLINK({index}, {})", if up { "IFF_UP" } else { "!IFF_UP" });
        self.acknowledged(Request::link(libc::RTM_NEWLINK, index, Some(up)), call)
    }

    /// Moves the device `index` to `netns`, and calls it `name` there. It loses its addresses and is down.
    ///
    /// # Errors
    /// `EEXIST` where the name is taken, `EINVAL` for devices that cannot leave their namespace.
    pub fn move_to(&mut self, index: u32, netns: BorrowedFd<'_>, name: &str) -> Result<()> {
        let request = Request::link(libc::RTM_NEWLINK, index, None)
            .attribute(libc::IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes())
            .text(libc::IFLA_IFNAME, name);
        self.acknowledged(request, || format!("RTM_NEWLINK({index}, IFLA_NET_NS_FD, {name:?})"))
    }

    /// Calls the device `index` `name`; the kernel puts a number for a `%d` in it.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        let request = Request::link(libc::RTM_NEWLINK, index, None).text(libc::IFLA_IFNAME, name);
        self.acknowledged(request, || format!("RTM_NEWLINK({index}, IFLA_IFNAME, {name:?})"))
    }

    /// Gives the device `index` an address that another device, or itself elsewhere, had.
    pub fn add_address(&mut self, index: u32, address: &Address) -> Result<()> {
        let mut header = [address.family, address.prefix, 0, address.scope, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        let flags = address.flags & SETTABLE_FLAGS;
        let mut request = Request::new(libc::RTM_NEWADDR, &header).attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
        for (kind, value) in &address.attributes {
            request = request.attribute(*kind, value);
        }
        request.flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
        self.acknowledged(request, || format!("RTM_NEWADDR({index})"))
    }

    fn acknowledged(&mut self, request: Request, call: impl Fn() -> String) -> Result<()> {
        self.ask(request, libc::NLM_F_ACK, call).map(drop)
    }

    /// Sends `request`, and returns the bodies of the replies. `EINTR` when a list changed while it was read.
    fn ask(&mut self, request: Request, flags: libc::c_int, call: impl Fn() -> String) -> Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let fail = |errno| SysError::new(call(), errno);
        let message = request.finish((libc::NLM_F_REQUEST | flags) as u16, self.sequence);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).map_err(fail)?;
        let mut buffer = vec![0; BUFFER];
        let (mut replies, mut interrupted) = (Vec::new(), false);
        loop {
            let received = loop {
                match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Err(Errno::EINTR) => {}
                    other => break other.map_err(fail)?,
                }
            };
            for Message { kind, flags: reply, sequence, body } in messages(&buffer[..received]) {
                if sequence != self.sequence {
                    continue;
                }
                interrupted |= i32::from(reply) & libc::NLM_F_DUMP_INTR != 0;
                match i32::from(kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        let errno = body.first_chunk().map_or(0, |errno| -i32::from_ne_bytes(*errno));
                        return match errno {
                            0 if interrupted => Err(fail(Errno::EINTR)),
                            0 => Ok(replies),
                            errno => Err(fail(Errno::from_raw(errno))),
                        };
                    }
                    _ => replies.push(body.to_vec()),
                }
            }
            // A request for one thing is answered by it, and nothing follows.
            if flags == 0 && !replies.is_empty() {
                return Ok(replies);
            }
        }
    }
}

/// A message in the making: its body with room for the header before it.
struct Request {
    kind: u16,
    flags: u16,
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; MESSAGE_HEADER];
        bytes.extend_from_slice(header);
        Self { kind, flags: 0, bytes }
    }

    /// `up` brings the device up or down; `None` leaves it.
    fn link(kind: u16, index: u32, up: Option<bool>) -> Self {
        let mut header = [0; LINK_HEADER];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        if let Some(up) = up {
            let bit = libc::IFF_UP as u32;
            header[8..12].copy_from_slice(&(if up { bit } else { 0 }).to_ne_bytes());
            header[12..16].copy_from_slice(&bit.to_ne_bytes());
        }
        Self::new(kind, &header)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, text: &str) -> Self {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat())
    }

    fn finish(mut self, flags: u16, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&(flags | self.flags).to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of one datagram; what is cut short is left out.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length).filter(|message| message.len() >= MESSAGE_HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(message, 4),
            flags: u16_at(message, 6),
            sequence: u32_at(message, 8),
            body: &message[MESSAGE_HEADER..],
        })
    })
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let attribute = rest.get(..length).filter(|attribute| attribute.len() >= ATTRIBUTE_HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16_at(attribute, 2), &attribute[ATTRIBUTE_HEADER..]))
    })
}

/// `body` is as long as its header at least.
fn address(body: &[u8]) -> Address {
    let all = || attributes(&body[ADDRESS_HEADER..]);
    // The flags outgrew the byte in the header (Linux 3.14).
    let wide = all().find(|(kind, value)| *kind == libc::IFA_FLAGS && value.len() == 4);
    Address {
        family: body[0],
        prefix: body[1],
        scope: body[3],
        flags: wide.map_or(u32::from(body[2]), |(_, value)| u32_at(value, 0)),
        attributes: all().filter(|(kind, _)| !NOT_COPIED.contains(kind)).map(|(k, v)| (k, v.to_vec())).collect(),
    }
}

/// The callers have checked that the bytes are there.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
#[path = "netlink_trial.rs"]
pub(crate) mod trial;
