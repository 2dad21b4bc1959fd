//! Hands network devices of the host to the container's network namespace, by the parent. All of them or none: a device
//! that was moved when a later one is refused comes back, since with the namespace the virtual ones would be gone.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;

use crate::error::InputError;
use crate::plan::netdev::NetDevice;
use crate::sys::netlink::{Address, Link, Route};

/// A device that leaves, as it was, and where it has got to.
struct Leaving {
    link: Link,
    addresses: Vec<Address>,
    /// Its index in the container's namespace, once it is there.
    there: Option<u32>,
}

/// Both ends of the way.
struct Way<'a> {
    host: Route,
    host_ns: File,
    container: Route,
    container_ns: BorrowedFd<'a>,
}

/// Moves `devices` from the network namespace of the calling thread to `netns`, renames them, gives them back their
/// permanent global addresses, and brings them up.
///
/// # Errors
/// A device that is not there, a name that is taken there, what the kernel refuses: with the JSON path of the device.
/// All devices are on the host then, as they were, as far as the kernel lets them.
pub fn move_all(devices: &[NetDevice], netns: BorrowedFd<'_>) -> Result<()> {
    let Some(first) = devices.first() else {
        return Ok(());
    };
    let mut way = Way::open(netns, first)?;
    let mut leaving = Vec::with_capacity(devices.len());
    for device in devices {
        leaving.push(way.look(device)?);
    }
    for i in 0..devices.len() {
        if let Err(error) = way.attach(&devices[i], &mut leaving[i]) {
            for device in leaving[..=i].iter().rev() {
                way.bring_back(device);
            }
            return Err(error.context(devices[i].at()));
        }
    }
    Ok(())
}

impl<'a> Way<'a> {
    /// `first` is named if there is nowhere to go.
    fn open(container_ns: BorrowedFd<'a>, first: &NetDevice) -> Result<Self> {
        let path = "/proc/thread-self/ns/net";
        let host_ns = File::open(path).with_context(|| format!("open {path}"))?;
        let (here, there) = (fstat(&host_ns)?, fstat(container_ns)?);
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) {
            return Err(InputError::new(first.at(), "the container is in the network namespace of the host").into());
        }
        let host = Route::open()?;
        setns(container_ns, CloneFlags::CLONE_NEWNET).context("setns(container's network namespace)")?;
        // A socket stays in the namespace that it was opened in, so this is all that is to be done there.
        let container = Route::open();
        setns(&host_ns, CloneFlags::CLONE_NEWNET).context("setns(host's network namespace)")?;
        Ok(Self { host, host_ns, container: container?, container_ns })
    }

    /// Finds the device and what it has to get back. Nothing is changed before all devices are found: the kernel moves
    /// a device before it finds that its name is taken.
    fn look(&mut self, device: &NetDevice) -> Result<Leaving> {
        let at = || device.at();
        let link = match self.host.link(&device.host_name) {
            Err(error) if error.errno == Errno::ENODEV => {
                return Err(InputError::new(at(), "no such network device on the host").into());
            }
            link => link.with_context(at)?,
        };
        let name = target(device, &link);
        if !device.is_template() {
            match self.container.link(name) {
                Err(error) if error.errno == Errno::ENODEV => {}
                other => {
                    other.with_context(at)?;
                    let what = format!("the container's network namespace has a device {name:?} already");
                    return Err(InputError::new(at(), what).hint("give it another \"name\"").into());
                }
            }
        }
        // Before the device goes down: it loses its IPv6 addresses then.
        let mut addresses = self.host.addresses(link.index).with_context(at)?;
        addresses.retain(|address| address.is_permanent() && address.is_global());
        Ok(Leaving { link, addresses, there: None })
    }

    fn attach(&mut self, device: &NetDevice, leaving: &mut Leaving) -> Result<()> {
        let Leaving { link, addresses, there } = leaving;
        // The name that the kernel makes of a template is not told, and the index may change on the way: until the
        // device is found again it has a name that nobody else has.
        let interim = format!("oarlock{}", link.index);
        let name = if device.is_template() { interim.as_str() } else { target(device, link) };
        self.host.set_up(link.index, false)?;
        self.host.move_to(link.index, self.container_ns, name)?;
        let index = self.container.link(name)?.index;
        *there = Some(index);
        if device.is_template() {
            self.container.rename(index, &device.container_name)?;
        }
        for address in addresses {
            self.container.add_address(index, address)?;
        }
        self.container.set_up(index, true)?;
        Ok(())
    }

    /// Puts a device back as it was. What fails here cannot be mended, and hides no more than the error that led here.
    fn bring_back(&mut self, leaving: &Leaving) {
        let Leaving { link, addresses, there } = leaving;
        if let Some(index) = there {
            let _ = self.container.move_to(*index, self.host_ns.as_fd(), &link.name);
        }
        let Ok(Link { index, .. }) = self.host.link(&link.name) else {
            return;
        };
        if link.up {
            let _ = self.host.set_up(index, true);
        }
        for address in addresses {
            let _ = self.host.add_address(index, address);
        }
    }
}

/// The name in the container. A device that is listed by an alternative name keeps its own when it gets no other.
fn target<'a>(device: &'a NetDevice, link: &'a Link) -> &'a str {
    if device.container_name == device.host_name { &link.name } else { &device.container_name }
}

#[cfg(test)]
#[path = "netdev_tests.rs"]
mod tests;
