//! Devices and addresses to try things with, for tests.

use super::*;

/// linux/rtnetlink.h, since Linux 5.5.
const RTM_NEWLINKPROP: u16 = 108;

/// Makes a pair of devices, `name` and `name` with a `p` after it.
pub(crate) fn make_veth(route: &mut Route, name: &str) {
    const VETH_INFO_PEER: u16 = 1;
    let inner = |request: Request| request.bytes[MESSAGE_HEADER..].to_vec();
    let empty = || Request::new(0, &[]);
    let peer = inner(Request::link(0, 0, None).text(libc::IFLA_IFNAME, &format!("{name}p")));
    let data = inner(empty().attribute(VETH_INFO_PEER, &peer));
    let info = inner(empty().text(libc::IFLA_INFO_KIND, "veth").attribute(libc::IFLA_INFO_DATA, &data));
    let mut request =
        Request::link(libc::RTM_NEWLINK, 0, None).text(libc::IFLA_IFNAME, name).attribute(libc::IFLA_LINKINFO, &info);
    request.flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    route.acknowledged(request, || "make veth".into()).unwrap();
}

/// Makes a device on top of the device `lower`.
pub(crate) fn make_macvlan(route: &mut Route, name: &str, lower: &str) {
    let lower = route.link(lower).unwrap().index;
    let info = Request::new(0, &[]).text(libc::IFLA_INFO_KIND, "macvlan").bytes.split_off(MESSAGE_HEADER);
    let mut request = Request::link(libc::RTM_NEWLINK, 0, None)
        .text(libc::IFLA_IFNAME, name)
        .attribute(libc::IFLA_LINK, &lower.to_ne_bytes())
        .attribute(libc::IFLA_LINKINFO, &info);
    request.flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    route.acknowledged(request, || "make macvlan".into()).unwrap();
}

/// Gives the device `name` another name.
pub(crate) fn add_alternative_name(route: &mut Route, name: &str, other: &str) {
    let index = route.link(name).unwrap().index;
    let list = Request::new(0, &[]).text(libc::IFLA_ALT_IFNAME, other).bytes.split_off(MESSAGE_HEADER);
    let request =
        Request::link(RTM_NEWLINKPROP, index, None).attribute(libc::IFLA_PROP_LIST | libc::NLA_F_NESTED as u16, &list);
    route.acknowledged(request, || "RTM_NEWLINKPROP".into()).unwrap();
}

/// A permanent global address without anything special.
pub(crate) fn plain_address(ip: std::net::IpAddr, prefix: u8) -> Address {
    let (family, bytes) = match ip {
        std::net::IpAddr::V4(ip) => (libc::AF_INET as u8, ip.octets().to_vec()),
        std::net::IpAddr::V6(ip) => (libc::AF_INET6 as u8, ip.octets().to_vec()),
    };
    let attributes = vec![(libc::IFA_LOCAL, bytes.clone()), (libc::IFA_ADDRESS, bytes)];
    Address { family, prefix, scope: 0, flags: 0, attributes }
}

impl Address {
    /// The address itself as bytes, and its prefix.
    pub(crate) fn value(&self) -> (Vec<u8>, u8) {
        let find = |kind| self.attributes.iter().find(|(found, _)| *found == kind);
        let (_, bytes) = find(libc::IFA_LOCAL).or_else(|| find(libc::IFA_ADDRESS)).unwrap();
        (bytes.clone(), self.prefix)
    }

    /// The same, as one that is not there for ever: seconds.
    pub(crate) fn lasting(mut self, seconds: u32) -> Self {
        let [a, b] = [seconds.to_ne_bytes(); 2];
        self.attributes.push((libc::IFA_CACHEINFO, [a, b, [0; 4], [0; 4]].concat()));
        self
    }

    /// The same, with another scope.
    pub(crate) fn scoped(self, scope: u8) -> Self {
        Self { scope, ..self }
    }
}
