//! CVE-2023-25809: the host's cgroups, writable in a container without a cgroup namespace.

use crate::harness::Bundle;

#[test]
fn cve_2023_25809_the_hosts_cgroups_are_not_writable_without_a_cgroup_namespace() {
    let mut bundle = Bundle::sh(
        "for f in $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs); do echo 1 2>/dev/null > $f && echo wrote; done; echo end",
    );
    bundle.no_namespace("cgroup");
    let output = bundle.run().ok();
    assert_eq!(output.stdout.trim(), "end", "{output}");
}

#[test]
fn cve_2023_25809_nor_rootless_where_the_document_says_writable() {
    only_oarlock!("the others are told so by who they are");
    let mut bundle = Bundle::sh(
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/made && echo made; done 2>/dev/null; echo end",
    );
    bundle.rt.global = ["--rootless", "true"].map(str::to_owned).to_vec();
    bundle.no_namespace("cgroup").unmount("/sys/fs/cgroup");
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"]);
    let output = bundle.run().ok();
    assert_eq!(output.stdout.trim(), "end", "{output}");
}
