//! Mounts that a test makes on the host, and a mount table (`/proc/PID/mountinfo`) as data.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A mount on the host that goes away with the test.
pub struct HostMount(pub PathBuf);

impl HostMount {
    /// A new tmpfs.
    pub fn tmpfs(at: &Path) -> Self {
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mount tmpfs");
        Self(at.to_owned())
    }

    /// A directory bound upon itself.
    pub fn itself(at: &Path) -> Self {
        mount(Some(at), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind");
        Self(at.to_owned())
    }

    /// The same, read-only and without devices, programs or set-id bits.
    #[must_use]
    pub fn restricted(self) -> Self {
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).expect("remount");
        self
    }

    /// The same, with its mounts and those of its copies told to each other from now on.
    #[must_use]
    pub fn shared(self) -> Self {
        mount(None::<&str>, &self.0, None::<&str>, MsFlags::MS_SHARED, None::<&str>).expect("MS_SHARED");
        self
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).ok();
    }
}

/// Takes away all mounts below a directory of ours.
pub fn detach_all(below: &Path) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| point.starts_with(below)).collect::<Vec<_>>().into_iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).ok();
    }
}

/// One line of a mount table.
#[derive(Debug, Clone)]
pub struct Mount {
    pub device: String,
    pub root: String,
    pub point: String,
    pub options: Vec<String>,
    pub propagation: Vec<String>,
    pub kind: String,
    pub source: String,
    pub super_options: Vec<String>,
}

impl Mount {
    /// Is this option set on the mount itself?
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|word| word == option)
    }

    /// Is this option set on its file system?
    pub fn super_has(&self, option: &str) -> bool {
        self.super_options.iter().any(|word| word == option)
    }

    /// `shared`, `master` and the like, without their numbers.
    pub fn propagation(&self) -> Vec<&str> {
        self.propagation.iter().filter_map(|word| word.split(':').next()).collect()
    }
}

/// A whole mount table.
#[derive(Debug)]
pub struct MountTable(pub Vec<Mount>);

impl MountTable {
    pub fn parse(text: &str) -> Self {
        let words = |text: &str| text.split(',').map(str::to_owned).collect();
        let line = |line: &str| {
            let (left, right) = line.split_once(" - ")?;
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            Some(Mount {
                device: left[2].to_owned(),
                root: left[3].to_owned(),
                point: left[4].to_owned(),
                options: words(left[5]),
                propagation: left[6..].iter().map(|word| (*word).to_owned()).collect(),
                kind: right[0].to_owned(),
                source: right[1].to_owned(),
                super_options: words(right[2]),
            })
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// The uppermost mount at a path.
    #[track_caller]
    pub fn at(&self, point: &str) -> &Mount {
        let found = self.0.iter().rfind(|mount| mount.point == point);
        found.unwrap_or_else(|| panic!("nothing is mounted at {point}: {self:#?}"))
    }

    pub fn has(&self, point: &str) -> bool {
        self.0.iter().any(|mount| mount.point == point)
    }
}
