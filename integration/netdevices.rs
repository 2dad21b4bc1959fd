//! Network devices that are handed to the container: what arrives with them, and what stays on the host. The runtime is
//! called in a network namespace of its own, which is the host's to it, so that nothing of this machine is touched.

use crate::harness::{Bundle, Output, json};

/// `run` on a host whose devices `prepare` has made; what `afterwards` says of the host comes after the program's output.
#[track_caller]
fn run(bundle: &Bundle, prepare: &str, afterwards: &str) -> Output {
    let command = bundle.command("run", &[]);
    let script = format!("set -e; {prepare}; set +e; \"$@\"; code=$?; {afterwards}; exit $code");
    let mut private = std::process::Command::new("unshare");
    private.args(["--net", "sh", "-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    bundle.rt.finish(private)
}

/// A pair of virtual devices; the container gets `v0`.
const VETH: &str = "ip link add v0 type veth peer name v1";

/// Leaves the test on a runtime that is older than the property.
macro_rules! needs_net_devices {
    () => {
        differs!("runc", "network devices came with runc 1.4");
        differs!("crun", "network devices came with crun 1.22");
    };
}

#[test]
fn a_device_leaves_the_host_and_arrives_up_with_its_name_and_settings() {
    needs_net_devices!();
    let mut bundle = Bundle::sh("cd /sys/class/net/v0; cat mtu address; ip link show v0 | grep -o ',UP'");
    bundle.set("/linux/netDevices", json!({ "v0": {} }));
    let prepare = format!("{VETH}; ip link set v0 address 02:00:00:00:00:07 mtu 1400");
    let output = run(&bundle, &prepare, "test -e /proc/sys/net/ipv4/conf/v0 || echo gone").ok();
    assert_eq!(output.lines(), ["1400", "02:00:00:00:00:07", ",UP", "gone"]);
}

/// Proves: linux.netDevices.*.name
#[test]
fn a_device_is_renamed_and_keeps_its_permanent_addresses_alone() {
    needs_net_devices!();
    let mut bundle = Bundle::sh("ip -o addr show eth7 | awk '{ print $4 }'; test -e /sys/class/net/v0 || echo renamed");
    bundle.set("/linux/netDevices", json!({ "v0": { "name": "eth7" } }));
    let prepare = format!(
        "{VETH}; ip addr add 10.7.0.2/24 dev v0; ip addr add fd07::2/64 dev v0 nodad; \
         ip addr add 10.8.0.2/24 dev v0 valid_lft 1000 preferred_lft 1000; ip link set v0 up"
    );
    let output = run(&bundle, &prepare, "true").ok();
    let lines: Vec<&str> = output.lines().into_iter().filter(|line| !line.starts_with("fe80:")).collect();
    assert_eq!(lines, ["10.7.0.2/24", "fd07::2/64", "renamed"], "{output}");
}

#[test]
fn a_device_keeps_its_alternative_names_and_may_be_listed_by_one() {
    needs_net_devices!();
    let mut bundle = Bundle::sh("ip link show dev second | grep -o 'v0'; ls /sys/class/net");
    bundle.set("/linux/netDevices", json!({ "other": {} }));
    let prepare =
        format!("{VETH}; ip link property add dev v0 altname other; ip link property add dev v0 altname second");
    let output = run(&bundle, &prepare, "true").ok();
    assert_eq!(output.lines(), ["v0", "lo", "v0"]);
}

#[test]
fn a_macvlan_arrives_without_the_device_below_it() {
    needs_net_devices!();
    let mut bundle = Bundle::sh("ls /sys/class/net; ip -o -4 addr show m0 | awk '{ print $4 }'");
    bundle.set("/linux/netDevices", json!({ "m0": {} }));
    let prepare = format!("{VETH}; ip link add m0 link v1 type macvlan mode bridge; ip addr add 10.7.0.9/24 dev m0");
    let output = run(&bundle, &prepare, "ls -d /proc/sys/net/ipv4/conf/v1").ok();
    assert_eq!(output.lines(), ["lo", "m0", "10.7.0.9/24", "/proc/sys/net/ipv4/conf/v1"]);
}

/// Proves: linux.netDevices.*.name
#[test]
fn several_devices_arrive_together_in_a_user_namespace() {
    needs_net_devices!();
    let mut bundle = Bundle::sh("ls /sys/class/net");
    bundle.user_namespace().set("/linux/netDevices", json!({ "v0": { "name": "net%d" }, "v1": { "name": "net0" } }));
    let output = run(&bundle, VETH, "true").ok();
    assert_eq!(output.lines(), ["lo", "net0", "net1"]);
}

#[test]
fn when_one_device_cannot_be_moved_all_stay_as_they_were() {
    needs_net_devices!();
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/netDevices", json!({ "v0": {}, "v2": {} }));
    let prepare = format!("{VETH}; ip addr add 10.7.0.2/24 dev v0; ip link set v0 up");
    let output = run(&bundle, &prepare, "ip -o -4 addr show v0 up | grep -o '10.7.0.2/24'");
    assert_eq!(output.stdout.trim(), "10.7.0.2/24", "{output}");
    let output = bundle.nothing_left(Output { stdout: String::new(), ..output });
    output.names("linux.netDevices.v2");
}

#[test]
fn a_device_for_a_container_on_the_hosts_network_is_refused() {
    needs_net_devices!();
    let mut bundle = Bundle::waiting();
    bundle.no_namespace("network").set("/linux/netDevices", json!({ "lo": {} }));
    bundle.refused().names("linux.netDevices");
}

/// Proves: linux.netDevices.*.name
#[test]
fn a_name_that_the_kernel_does_not_take_is_refused() {
    needs_net_devices!();
    for name in ["a/b", "sixteen-bytes-xx", "..", "a:b"] {
        let mut bundle = Bundle::waiting();
        bundle.set("/linux/netDevices", json!({ "v0": { "name": name } }));
        bundle.refused().names("linux.netDevices.v0.name");
    }
}
