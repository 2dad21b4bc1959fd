//! Mount options by name: the table that says what each does, and how a list of them adds up. What is not in the table
//! is a parameter of the filesystem.

use super::super::{Result, no_nul};
use super::{AttrChange, FsParam, Links, Propagation, idmap};
use crate::error::InputError;

/// `MOUNT_ATTR_*` of mount_setattr(2) (linux/mount.h).
pub mod attr {
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    /// The mask of the access time modes: one of the next three.
    pub const ATIME: u64 = 0x70;
    pub const RELATIME: u64 = 0x0;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    /// Linux 5.14.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// `MS_*` propagation types of mount(2) (linux/mount.h).
pub mod ms {
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
}

/// What one option does.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Attributes of this mount.
    Set(u64),
    Clear(u64),
    /// The access time mode; `NotAtime` takes one back, which leaves the kernel's default, relatime.
    Atime(u64),
    NotAtime(u64),
    /// The same for this mount and all below it.
    RSet(u64),
    RClear(u64),
    RAtime(u64),
    RNotAtime(u64),
    /// A superblock flag: its fsconfig(2) name to turn it on, and to turn it off.
    On(&'static str, &'static str),
    Off(&'static str, &'static str),
    Propagate(u64, bool),
    Bind(bool),
    Remount,
    CopyUp,
    /// Do not follow a symlink at an end of the bind.
    Link(fn(&mut Links)),
    /// Map ids, in the mounts below too if true.
    MapIds(bool),
    /// Asks for what is so anyway: mounts made by fsopen(2) never log to the console, for instance.
    Default,
    /// The kernel offers no way for a new mount; why, for the warning.
    Moot(&'static str),
}
use Change::{
    Atime, Bind, Clear, CopyUp, Default as AsIs, Link, MapIds, Moot, NotAtime, Off, On, Propagate, RAtime, RClear,
    RNotAtime, RSet, Remount, Set,
};

/// Every option of mount(8) and the specification that is not the filesystem's own. runc has the same names.
const TABLE: &[(&str, Change)] = &[
    ("ro", Set(attr::RDONLY)),
    ("rw", Clear(attr::RDONLY)),
    ("nosuid", Set(attr::NOSUID)),
    ("suid", Clear(attr::NOSUID)),
    ("nodev", Set(attr::NODEV)),
    ("dev", Clear(attr::NODEV)),
    ("noexec", Set(attr::NOEXEC)),
    ("exec", Clear(attr::NOEXEC)),
    ("nodiratime", Set(attr::NODIRATIME)),
    ("diratime", Clear(attr::NODIRATIME)),
    ("nosymfollow", Set(attr::NOSYMFOLLOW)),
    ("symfollow", Clear(attr::NOSYMFOLLOW)),
    ("noatime", Atime(attr::NOATIME)),
    ("atime", NotAtime(attr::NOATIME)),
    ("relatime", Atime(attr::RELATIME)),
    ("norelatime", NotAtime(attr::RELATIME)),
    ("strictatime", Atime(attr::STRICTATIME)),
    ("nostrictatime", NotAtime(attr::STRICTATIME)),
    ("rro", RSet(attr::RDONLY)),
    ("rrw", RClear(attr::RDONLY)),
    ("rnosuid", RSet(attr::NOSUID)),
    ("rsuid", RClear(attr::NOSUID)),
    ("rnodev", RSet(attr::NODEV)),
    ("rdev", RClear(attr::NODEV)),
    ("rnoexec", RSet(attr::NOEXEC)),
    ("rexec", RClear(attr::NOEXEC)),
    ("rnodiratime", RSet(attr::NODIRATIME)),
    ("rdiratime", RClear(attr::NODIRATIME)),
    ("rnosymfollow", RSet(attr::NOSYMFOLLOW)),
    ("rsymfollow", RClear(attr::NOSYMFOLLOW)),
    ("rnoatime", RAtime(attr::NOATIME)),
    ("ratime", RNotAtime(attr::NOATIME)),
    ("rrelatime", RAtime(attr::RELATIME)),
    ("rnorelatime", RNotAtime(attr::RELATIME)),
    ("rstrictatime", RAtime(attr::STRICTATIME)),
    ("rnostrictatime", RNotAtime(attr::STRICTATIME)),
    ("sync", On("sync", "async")),
    ("async", Off("sync", "async")),
    ("lazytime", On("lazytime", "nolazytime")),
    ("nolazytime", Off("lazytime", "nolazytime")),
    ("mand", On("mand", "nomand")),
    ("nomand", Off("mand", "nomand")),
    // The kernel knows no flag that turns it off.
    ("dirsync", On("dirsync", "")),
    ("iversion", Moot("the filesystem alone decides on it")),
    ("noiversion", AsIs),
    ("silent", AsIs),
    ("loud", AsIs),
    ("defaults", AsIs),
    ("private", Propagate(ms::PRIVATE, false)),
    ("rprivate", Propagate(ms::PRIVATE, true)),
    ("shared", Propagate(ms::SHARED, false)),
    ("rshared", Propagate(ms::SHARED, true)),
    ("slave", Propagate(ms::SLAVE, false)),
    ("rslave", Propagate(ms::SLAVE, true)),
    ("unbindable", Propagate(ms::UNBINDABLE, false)),
    ("runbindable", Propagate(ms::UNBINDABLE, true)),
    ("bind", Bind(false)),
    ("rbind", Bind(true)),
    ("remount", Remount),
    ("tmpcopyup", CopyUp),
    ("copy-symlink", Link(|links| links.copy = true)),
    ("src-nofollow", Link(|links| links.bind_source = true)),
    ("dest-nofollow", Link(|links| links.cover_destination = true)),
    ("idmap", MapIds(false)),
    ("ridmap", MapIds(true)),
];

/// The options that mounts know, sorted, for `features`.
pub fn option_names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names
}

/// The propagation type by name: `slave`, `rslave`, ….
pub fn propagation(name: &str) -> Option<Propagation> {
    TABLE.iter().find_map(|(known, change)| match change {
        Propagate(kind, recursive) if *known == name => Some(Propagation { kind: *kind, recursive: *recursive }),
        _ => None,
    })
}

/// A superblock flag that was asked for, with the option's JSON path.
#[derive(Debug)]
pub struct Super {
    pub on: &'static str,
    pub off: &'static str,
    pub wanted: bool,
    pub at: String,
}

/// A filesystem parameter, with the option's JSON path.
#[derive(Debug)]
pub struct Param {
    pub param: FsParam,
    pub at: String,
}

/// A list of options, added up.
#[derive(Debug, Default)]
pub struct Options {
    pub attrs: AttrChange,
    pub recursive_attrs: AttrChange,
    pub propagation: Vec<Propagation>,
    /// Whether it is recursive.
    pub bind: Option<bool>,
    pub remount: bool,
    /// The JSON path of `tmpcopyup`.
    pub copy_up: Option<String>,
    pub links: Links,
    /// The JSON path of the first option for those.
    pub links_at: Option<String>,
    pub idmap: Option<idmap::Given>,
    pub superblock: Vec<Super>,
    pub params: Vec<Param>,
}

impl Options {
    /// Reads `mounts[i].options`; of two that contradict each other the last one counts, as for mount(8).
    ///
    /// # Errors
    /// NUL bytes, empty parameters, an open quote.
    pub fn read(at: &str, options: &[String], warn: &mut Vec<String>) -> Result<Self> {
        let mut read = Self::default();
        for (i, option) in options.iter().enumerate() {
            let at = format!("{at}.options[{i}]");
            no_nul(&at, option)?;
            let valued = option.split_once('=').filter(|(name, _)| matches!(*name, "idmap" | "ridmap"));
            match (TABLE.iter().find(|(name, _)| name == option), valued) {
                (Some((_, change)), _) => read.change(*change, at, option, warn),
                (None, Some((name, value))) => {
                    read.idmap = Some(idmap::Given { at, recursive: name == "ridmap", maps: Some(value.to_owned()) });
                }
                (None, None) => read.data(at, option)?,
            }
        }
        Ok(read)
    }

    /// The JSON path of the first option that is not the mount's but the filesystem's own.
    pub fn of_filesystem(&self) -> Option<&str> {
        let flag = self.superblock.iter().find(|flag| flag.wanted).map(|flag| &flag.at);
        self.params.first().map(|param| &param.at).or(flag).map(String::as_str)
    }

    fn change(&mut self, change: Change, at: String, option: &str, warn: &mut Vec<String>) {
        match change {
            Set(bits) => set(&mut self.attrs, bits),
            Clear(bits) => clear(&mut self.attrs, bits),
            Atime(mode) => atime(&mut self.attrs, mode),
            NotAtime(mode) => not_atime(&mut self.attrs, mode),
            RSet(bits) => set(&mut self.recursive_attrs, bits),
            RClear(bits) => clear(&mut self.recursive_attrs, bits),
            RAtime(mode) => atime(&mut self.recursive_attrs, mode),
            RNotAtime(mode) => not_atime(&mut self.recursive_attrs, mode),
            On(on, off) => self.superblock(Super { on, off, wanted: true, at }),
            Off(on, off) => self.superblock(Super { on, off, wanted: false, at }),
            Propagate(kind, recursive) => self.propagation.push(Propagation { kind, recursive }),
            Bind(recursive) => self.bind = Some(self.bind.unwrap_or(false) || recursive),
            Remount => self.remount = true,
            CopyUp => self.copy_up = Some(at),
            Link(change) => {
                change(&mut self.links);
                self.links_at.get_or_insert(at);
            }
            MapIds(recursive) => self.idmap = Some(idmap::Given { at, recursive, maps: None }),
            AsIs => {}
            Moot(why) => warn.push(format!("{at}: {option} has no effect: {why}")),
        }
    }

    fn superblock(&mut self, flag: Super) {
        self.superblock.retain(|other| other.on != flag.on);
        self.superblock.push(flag);
    }

    /// Filesystem parameters: one option may hold several, separated by commas that are not inside double quotes
    /// (an SELinux context has commas of its own).
    fn data(&mut self, at: String, option: &str) -> Result<()> {
        // Buildah's `--volume A:B` has one option, which is empty.
        if option.is_empty() {
            return Ok(());
        }
        for part in split(option).ok_or_else(|| InputError::new(&at, "has an open double quote"))? {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(unquote(value))),
                None => (part, None),
            };
            if key.is_empty() {
                return Err(InputError::new(at, format!("{option:?} has a parameter without a name")));
            }
            let param = FsParam { key: key.to_owned(), value: value.map(str::to_owned) };
            self.params.push(Param { param, at: at.clone() });
        }
        Ok(())
    }
}

fn set(change: &mut AttrChange, bits: u64) {
    change.set |= bits;
    change.clear &= !bits;
}

fn clear(change: &mut AttrChange, bits: u64) {
    change.set &= !bits;
    change.clear |= bits;
}

/// The modes are a number, not bits: mount_setattr(2) wants the whole field cleared to set one.
fn atime(change: &mut AttrChange, mode: u64) {
    change.set = change.set & !attr::ATIME | mode;
    change.clear |= attr::ATIME;
}

fn not_atime(change: &mut AttrChange, mode: u64) {
    let asked = change.clear & attr::ATIME != 0;
    if !asked || change.set & attr::ATIME == mode {
        atime(change, attr::RELATIME);
    }
}

/// Splits at commas outside double quotes; `None` when a quote stays open.
fn split(option: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in option.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&option[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&option[start..]);
    (!quoted).then_some(parts)
}

/// fsconfig(2) takes the value as it is; the quotes are a matter of mount(2)'s one string.
fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}
