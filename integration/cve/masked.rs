//! CVE-2025-31133 (runc), CVE-2025-62161 (youki): what masks a path is not the host's null device but the image's.
//! CVE-2025-52881, where it is the mask that lies over what the runtime writes.

use std::fs;
use std::os::unix::fs::symlink;

use super::Host;
use crate::harness::{Bundle, json};

#[test]
fn cve_2025_31133_a_dev_null_that_is_a_symlink_is_not_what_masks() {
    let mut bundle = Bundle::sh("cat /secret; echo x > /secret; echo done");
    let _host = Host::new(&bundle);
    for destination in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    // A /dev of another container, too: what the runtime finds there it leaves alone.
    let dev = bundle.host_dir("dev");
    bundle.bind(&dev, "/dev", &["rbind"]);
    // Inside, the link leads to a file of the image that stands for core_pattern.
    bundle.file("victim", "victim text", 0o666);
    bundle.file("secret", "secret text", 0o666);
    symlink("/victim", dev.join("null")).unwrap();
    bundle.push("/linux/maskedPaths", json!("/secret"));
    let output = bundle.run();
    assert!(!output.stdout.contains("secret text"), "{output}");
    assert!(!output.stdout.contains("victim text"), "{output}");
    assert_eq!(fs::read_to_string(bundle.rootfs("secret")).unwrap(), "secret text");
    assert_eq!(fs::read_to_string(bundle.rootfs("victim")).unwrap(), "victim text");
}

#[test]
fn cve_2025_52881_a_masked_path_that_leads_into_proc_hides_and_turns_nothing_aside() {
    const SYSCTL: &str = "sys/net/ipv4/ip_unprivileged_port_start";
    let mut bundle = Bundle::sh(&format!("cat /proc/{SYSCTL} /other/{SYSCTL}"));
    let _host = Host::new(&bundle);
    symlink(format!("/proc/{SYSCTL}"), bundle.rootfs("link")).unwrap();
    bundle
        .mount("/other", "proc", "proc", &[])
        .set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "77"}));
    bundle.set("/linux/maskedPaths", json!(["/link"])).set("/linux/readonlyPaths", json!([]));
    // The sysctl is set all the same, as another procfs shows; what covers it is empty.
    bundle.run().ok().prints("77");
}
