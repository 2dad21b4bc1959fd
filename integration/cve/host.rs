//! What no container may change on the host: the runtime's own binary, device nodes, the mount table, a canary.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::harness::{Bundle, base, runtime};

/// The host as it was. Dropping it compares.
pub struct Host {
    /// An empty directory of the host, for an attack to aim at.
    pub canary: PathBuf,
    binary: u64,
    nodes: Vec<String>,
    mounts: Vec<String>,
    core_pattern: String,
}

impl Host {
    pub fn new(bundle: &Bundle) -> Self {
        let canary = bundle.host_dir("canary");
        let core_pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern");
        Self { canary, binary: hash_of_binary(), nodes: nodes(), mounts: mounts(), core_pattern }
    }

    /// Demands that nothing has been made in the canary.
    #[track_caller]
    pub fn untouched(&self, during: &str) {
        let found: Vec<PathBuf> =
            fs::read_dir(&self.canary).expect("canary").map(|e| e.expect("entry").path()).collect();
        assert!(found.is_empty(), "made on the host: {found:?}: {during}");
    }

    /// A path to the canary that leads there from anywhere below the host's root: absolute, and by climbing.
    pub fn ways(&self) -> [String; 2] {
        let absolute = self.canary.to_str().expect("UTF-8").to_owned();
        [absolute.clone(), format!("../../../../../../../../..{absolute}")]
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.untouched("at the end");
        assert_eq!(self.binary, hash_of_binary(), "the runtime's binary was changed");
        assert_eq!(self.nodes, nodes(), "the host's device nodes were changed");
        assert_eq!(self.core_pattern, fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern"));
        let new: Vec<String> = mounts().into_iter().filter(|mount| !self.mounts.contains(mount)).collect();
        assert!(new.is_empty(), "mounted on the host: {new:#?}");
    }
}

/// Type, numbers, owner and mode of the nodes that runtimes have changed.
fn nodes() -> Vec<String> {
    ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"]
        .iter()
        .filter_map(|name| {
            let data = fs::metadata(Path::new("/dev").join(name)).ok()?;
            Some(format!("{name} {:o} {:x} {}:{}", data.mode(), data.rdev(), data.uid(), data.gid()))
        })
        .collect()
}

/// Where something is mounted on the host, but for what tests mount in their own directories: other runs' too.
fn mounts() -> Vec<String> {
    let own = base::dir().to_str().expect("UTF-8");
    let runs = own.rsplit_once('-').expect("a name with a dash").0;
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| !point.starts_with(runs));
    points.map(str::to_owned).collect()
}

/// The runtime's binary on the host.
pub fn binary() -> PathBuf {
    let name = runtime::binary();
    std::env::split_paths(&std::env::var_os("PATH").expect("PATH"))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

/// Its content, as one number.
fn hash_of_binary() -> u64 {
    let mut hasher = DefaultHasher::new();
    fs::read(binary()).expect("the runtime's binary").hash(&mut hasher);
    hasher.finish()
}
