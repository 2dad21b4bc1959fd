//! `process.capabilities` as bits. Names that nobody knows were dropped, with a warning, when the document was read.

use std::str::FromStr;

use oci_spec::runtime::LinuxCapabilities;

use super::super::Result;
use super::Capabilities;
use crate::error::InputError;
use crate::weak::{Guard, lacks};

/// The five sets exactly as asked, but for ambient capabilities that the kernel would refuse. Those are left out without
/// a word, as by runc 1.1: Buildah asks for them in every container, and shows its users what the runtime says.
///
/// # Errors
/// An effective capability that is not permitted: capset(2) refuses it.
pub fn compile(sets: &LinuxCapabilities) -> Result<Capabilities> {
    let mut caps = Capabilities {
        bounding: bits("bounding", sets.bounding())?,
        effective: bits("effective", sets.effective())?,
        inheritable: bits("inheritable", sets.inheritable())?,
        permitted: bits("permitted", sets.permitted())?,
        ambient: bits("ambient", sets.ambient())?,
    };
    if lacks(Guard::ExactCapabilities) {
        let invented = caps::Capability::CAP_CHOWN.bitmask();
        (caps.effective, caps.permitted) = (caps.effective | invented, caps.permitted | invented);
        caps.inheritable |= caps.permitted;
    }
    let beyond = caps.effective & !caps.permitted;
    if beyond != 0 {
        let what = format!("{} not permitted", names(beyond));
        return Err(InputError::new("process.capabilities.effective", what)
            .hint("add it to process.capabilities.permitted as well"));
    }
    caps.ambient &= caps.permitted & caps.inheritable;
    Ok(caps)
}

/// One name, with or without `CAP_`, in any case, as its bit.
///
/// # Errors
/// A name that nobody knows.
pub fn bit(at: &str, name: &str) -> Result<u64> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    caps::Capability::from_str(&full)
        .map(|cap| cap.bitmask())
        .map_err(|_| InputError::new(at, format!("unknown capability {name:?}")).hint("use a name such as CAP_NET_RAW"))
}

fn bits(set: &str, given: &Option<oci_spec::runtime::Capabilities>) -> Result<u64> {
    given.iter().flatten().try_fold(0, |bits, capability| {
        let name = format!("CAP_{capability}");
        caps::Capability::from_str(&name)
            .map(|cap| bits | cap.bitmask())
            .map_err(|_| InputError::new(format!("process.capabilities.{set}"), format!("unknown capability {name}")))
    })
}

/// In the kernel's order.
fn names(bits: u64) -> String {
    let mut all: Vec<_> = caps::all().into_iter().filter(|cap| bits & cap.bitmask() != 0).collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
