//! Devices on their way between two scratch namespaces. Needs root.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::sched::unshare;

use super::*;
use crate::sys::netlink::trial::{add_alternative_name, make_macvlan, make_veth, plain_address};

/// Runs `body` in a network namespace of its own, with another one to move devices to, and sockets in both.
fn between_namespaces(body: impl FnOnce(OwnedFd, Route, Route) + Send) {
    let namespace = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        let file = File::open("/proc/thread-self/ns/net").unwrap();
        (OwnedFd::from(file), Route::open().unwrap())
    };
    std::thread::scope(|scope| {
        // Namespaces belong to threads, and this one takes them with it.
        scope.spawn(|| {
            let (container_ns, container) = namespace();
            let (_host_ns, host) = namespace();
            body(container_ns, host, container);
        });
    });
}

fn device(host_name: &str, container_name: &str) -> NetDevice {
    NetDevice { host_name: host_name.into(), container_name: container_name.into() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn octets(text: &str) -> Vec<u8> {
    match ip(text) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn global_addresses(route: &mut Route, name: &str) -> Vec<(Vec<u8>, u8)> {
    let index = route.link(name).unwrap().index;
    let addresses = route.addresses(index).unwrap();
    addresses.iter().filter(|address| address.is_global()).map(|address| address.value()).collect()
}

#[test]
fn a_device_arrives_renamed_up_and_with_its_permanent_global_addresses() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut host, "veth7");
        let index = host.link("veth7").unwrap().index;
        host.set_up(index, true).unwrap();
        for address in [
            plain_address(ip("192.0.2.1"), 24),
            plain_address(ip("192.0.2.2"), 24),
            plain_address(ip("2001:db8::1"), 64),
            plain_address(ip("192.0.2.77"), 24).lasting(600),
            plain_address(ip("2001:db8::77"), 64).lasting(600),
            plain_address(ip("198.51.100.1"), 24).scoped(libc::RT_SCOPE_LINK),
        ] {
            host.add_address(index, &address).unwrap();
        }
        move_all(&[device("veth7", "eth0")], netns.as_fd()).unwrap();
        assert_eq!(host.link("veth7").unwrap_err().errno, Errno::ENODEV);
        assert!(host.link("veth7p").is_ok());
        assert!(container.link("eth0").unwrap().up);
        assert_eq!(
            global_addresses(&mut container, "eth0"),
            [(octets("192.0.2.1"), 24), (octets("192.0.2.2"), 24), (octets("2001:db8::1"), 64)]
        );
        let index = container.link("eth0").unwrap().index;
        assert!(container.addresses(index).unwrap().iter().filter(|a| a.is_global()).all(Address::is_permanent));
    });
}

#[test]
fn a_macvlan_leaves_the_device_below_it_behind() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut host, "lower");
        make_macvlan(&mut host, "mac0", "lower");
        for name in ["lower", "mac0"] {
            let index = host.link(name).unwrap().index;
            host.set_up(index, true).unwrap();
        }
        let index = host.link("mac0").unwrap().index;
        host.add_address(index, &plain_address(ip("2001:db8::1"), 64)).unwrap();
        move_all(&[device("mac0", "net0")], netns.as_fd()).unwrap();
        assert!(container.link("net0").unwrap().up && host.link("lower").unwrap().up);
        assert_eq!(global_addresses(&mut container, "net0"), [(octets("2001:db8::1"), 64)]);
    });
}

#[test]
fn a_template_gets_the_first_free_number() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut container, "eth0");
        for name in ["one", "two"] {
            make_veth(&mut host, name);
        }
        move_all(&[device("one", "eth%d"), device("two", "eth%d")], netns.as_fd()).unwrap();
        assert!(container.link("eth1").unwrap().up && container.link("eth2").unwrap().up);
    });
}

#[test]
fn a_device_may_be_listed_by_an_alternative_name_and_keeps_its_own() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut host, "one");
        add_alternative_name(&mut host, "one", "uplink");
        move_all(&[device("uplink", "uplink")], netns.as_fd()).unwrap();
        assert!(container.link("one").unwrap().up);
        assert_eq!(container.link("uplink").unwrap().name, "one");
    });
}

#[test]
fn devices_can_trade_their_names_with_ones_of_the_same_index() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut container, "other");
        for name in ["aa", "bb"] {
            make_veth(&mut host, name);
        }
        assert_eq!(host.link("aap").unwrap().index, container.link("otherp").unwrap().index);
        move_all(&[device("aa", "bb"), device("aap", "aap"), device("bb", "aa")], netns.as_fd()).unwrap();
        for name in ["aa", "bb", "aap"] {
            assert!(container.link(name).unwrap().up, "{name}");
        }
    });
}

#[test]
fn nothing_is_moved_when_a_device_is_missing_or_a_name_is_taken() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut container, "eth0");
        make_veth(&mut host, "one");
        let index = host.link("one").unwrap().index;
        host.set_up(index, true).unwrap();
        let refusal = |devices: &[NetDevice]| format!("{:#}", move_all(devices, netns.as_fd()).unwrap_err());
        assert_eq!(
            refusal(&[device("one", "one"), device("none", "none")]),
            "linux.netDevices.none: no such network device on the host"
        );
        assert!(
            refusal(&[device("one", "eth0")])
                .starts_with("linux.netDevices.one: the container's network namespace has a device \"eth0\" already")
        );
        assert!(host.link("one").unwrap().up);
    });
}

#[test]
fn a_device_that_was_moved_comes_back_when_the_kernel_refuses_a_later_one() {
    between_namespaces(|netns, mut host, mut container| {
        make_veth(&mut host, "one");
        let index = host.link("one").unwrap().index;
        host.set_up(index, true).unwrap();
        for address in [plain_address(ip("192.0.2.1"), 24), plain_address(ip("2001:db8::1"), 64)] {
            host.add_address(index, &address).unwrap();
        }
        // No loopback device ever leaves its namespace.
        let error = move_all(&[device("one", "eth0"), device("lo", "lo7")], netns.as_fd()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "linux.netDevices.lo: RTM_NEWLINK(1, IFLA_NET_NS_FD, \"lo7\"): invalid argument"
        );
        assert_eq!(container.link("eth0").unwrap_err().errno, Errno::ENODEV);
        assert!(host.link("one").unwrap().up);
        assert_eq!(global_addresses(&mut host, "one"), [(octets("192.0.2.1"), 24), (octets("2001:db8::1"), 64)]);
    });
}

#[test]
fn the_callers_own_namespace_is_refused_and_the_caller_stays_in_it() {
    between_namespaces(|netns, mut host, _container| {
        make_veth(&mut host, "one");
        let here = File::open("/proc/thread-self/ns/net").unwrap();
        let error = move_all(&[device("one", "one")], here.as_fd()).unwrap_err();
        assert!(error.to_string().starts_with("linux.netDevices.one: "), "{error}");
        move_all(&[device("one", "one")], netns.as_fd()).unwrap();
        let after = File::open("/proc/thread-self/ns/net").unwrap();
        assert_eq!(fstat(&here).unwrap().st_ino, fstat(&after).unwrap().st_ino);
    });
}
