//! Where the host's cgroup files are, whether it is v1, hybrid or v2.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Mount point of each hierarchy: a v1 controller's name (or `name=systemd`), or `""` for v2.
fn hierarchies() -> &'static HashMap<String, PathBuf> {
    static MOUNTS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    MOUNTS.get_or_init(|| {
        let mut found = HashMap::new();
        let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        for line in table.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let point = PathBuf::from(left.split(' ').nth(4).expect("mount point"));
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => {
                    found.insert(String::new(), point);
                }
                (Some("cgroup"), Some(options)) => {
                    for option in options.split(',') {
                        found.insert(option.to_owned(), point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    })
}

/// Is `/sys/fs/cgroup` itself cgroup v2?
pub fn is_v2() -> bool {
    hierarchies().get("").is_some_and(|point| point == Path::new("/sys/fs/cgroup"))
}

/// Is this controller mounted on v1?
pub fn has_v1(controller: &str) -> bool {
    hierarchies().contains_key(controller)
}

/// Is there a v2 hierarchy in which this controller can be used?
pub fn has_v2(controller: &str) -> bool {
    let Some(point) = hierarchies().get("") else { return false };
    let list = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
    list.split_whitespace().any(|name| name == controller)
}

/// The directories of a cgroup (`/a/b`) in every hierarchy, whether they exist or not. v1's memory hierarchy may
/// be entered below its root: there the path is looked for below our own cgroup too.
pub fn dirs(path: &str) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = hierarchies().values().map(|point| point.join(path.trim_start_matches('/'))).collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

/// A file of a cgroup in one controller's v1 hierarchy (`""`: v2).
pub fn file(controller: &str, path: &str, name: &str) -> PathBuf {
    let point = hierarchies().get(controller);
    let point = point.unwrap_or_else(|| panic!("no hierarchy of {controller:?}"));
    point.join(path.trim_start_matches('/')).join(name)
}

/// Such a file's content, trimmed.
#[track_caller]
pub fn read(controller: &str, path: &str, name: &str) -> String {
    let file = file(controller, path, name);
    let text = fs::read_to_string(&file);
    text.unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

/// Is this controller where a container can use it, on v1 or on v2? By v1's name.
pub fn has(controller: &str) -> bool {
    if is_v2() { has_v2(if controller == "blkio" { "io" } else { controller }) } else { has_v1(controller) }
}

/// A limit of a cgroup by v1's names and in v1's terms; on a v2 host, what there means the same.
#[track_caller]
pub fn limit(controller: &str, path: &str, name: &str) -> String {
    if !is_v2() {
        return read(controller, path, name);
    }
    let bytes = |name| match read("", path, name).as_str() {
        "max" => "9223372036854771712".to_owned(),
        bytes => bytes.to_owned(),
    };
    let cpu = read("", path, "cpu.max");
    let (quota, period) = cpu.split_once(' ').expect("cpu.max");
    match name {
        "memory.limit_in_bytes" => bytes("memory.max"),
        "memory.soft_limit_in_bytes" => bytes("memory.low"),
        // v1 counts memory and swap together, v2 swap alone.
        "memory.memsw.limit_in_bytes" => {
            match (bytes("memory.max").parse::<u64>(), read("", path, "memory.swap.max").parse::<u64>()) {
                (Ok(memory), Ok(swap)) => (memory + swap).to_string(),
                _ => bytes("memory.swap.max"),
            }
        }
        "cpu.cfs_quota_us" => quota.replace("max", "-1"),
        "cpu.cfs_period_us" => period.to_owned(),
        "cpu.cfs_burst_us" => read("", path, "cpu.max.burst"),
        same => read("", path, same),
    }
}

/// Every controller with a v1 hierarchy that holds processes for containers.
pub fn v1_controllers() -> Vec<&'static str> {
    let known = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];
    known.into_iter().filter(|name| has_v1(name)).collect()
}
