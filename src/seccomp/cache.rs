//! Compiled profiles, kept as `STATE_ROOT/.cache/seccomp/HASH`. Only ever makes things faster: whatever is wrong with
//! an entry, it is compiled anew and replaced, and a cache that cannot be written is no error.
//!
//! An entry holds the whole key, compared on every read: the hash in its name need not resist anybody.

use std::io::Result;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::names::library_version;
use crate::plan::seccomp::Program;
use crate::sys::again::{self, openat, read_dir};
use crate::sys::openat2::{RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2};
use crate::sys::publish::publish;
use crate::sys::seccomp::{INSTRUCTION, MAX_INSTRUCTIONS};

/// The directories below the state root.
const DIRECTORIES: [&str; 2] = [".cache", "seccomp"];

/// Where this many entries are, all go before one more is added: profiles are few where they are not generated, and
/// the state root is often memory.
const MAX_ENTRIES: usize = 128;

const MAGIC: [u8; 8] = *b"oarlkbpf";

/// Magic, length of the key, length of the BPF, hash of the BPF; then the key and the BPF.
const HEADER: usize = 8 + 4 + 4 + 8;

/// What makes BPF from a program, as a number: entries of another build are not taken.
const BUILD: u64 = hash(include_bytes!("compile.rs"))
    ^ hash(include_bytes!("enosys.rs")).rotate_left(1)
    ^ hash(include_bytes!("names.rs")).rotate_left(2)
    ^ hash(include_bytes!("sound.rs")).rotate_left(3);

/// Everything that the BPF depends on.
pub(super) struct Key {
    bytes: Vec<u8>,
    name: String,
}

impl Key {
    /// `None` if the program cannot be written down.
    pub fn of(program: &Program) -> Option<Self> {
        let (major, minor, micro) = library_version();
        let mut bytes =
            format!("{} {BUILD:016x} libseccomp-{major}.{minor}.{micro} ", env!("CARGO_PKG_VERSION")).into_bytes();
        serde_json::to_writer(&mut bytes, program).ok()?;
        let name = format!("{:016x}", hash(&bytes));
        Some(Self { bytes, name })
    }
}

/// The BPF of `key`, if the cache below the state root `root` has it and nobody but us can have put it there.
pub(super) fn load(root: &Path, key: &Key) -> Option<Vec<u8>> {
    let [cache, below] = DIRECTORIES;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = openat(AT_FDCWD, &root.join(cache), flags, Mode::empty()).ok()?;
    let uid = geteuid().as_raw();
    let is_ours = |stat: &FileStat, mode| is_of(uid, stat, mode).then_some(());
    // Nobody but us changes what is below a directory that is ours alone: what is seen there by name stays so.
    is_ours(&fstat(&dir).ok()?, libc::S_IFDIR | 0o700)?;
    is_ours(&fstatat(&dir, below, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?, libc::S_IFDIR | 0o700)?;
    let path = Path::new(below).join(&key.name);
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = openat2(dir.as_fd(), &path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).ok()?;
    let stat = fstat(&file).ok()?;
    let size = HEADER + key.bytes.len()..=HEADER + key.bytes.len() + MAX_INSTRUCTIONS * INSTRUCTION;
    let length = usize::try_from(stat.st_size).ok().filter(|length| size.contains(length))?;
    let mut content = vec![0; length];
    is_ours(&stat, libc::S_IFREG | 0o600)?;
    (again::read(&file, &mut content) == Ok(length)).then(|| decode(content, key))?
}

/// Keeps `bpf` under `key` below the state root `root`, in place of whatever is there. Readers see the old entry or
/// the new one.
///
/// # Errors
/// Whatever a full, read-only or foreign directory gives; the cache is as before then.
pub(super) fn store(root: &Path, key: &Key, bpf: &[u8]) -> Result<()> {
    let mut dir = open_root(root)?;
    for name in DIRECTORIES {
        match mkdirat(&dir, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        dir = open_ours(&dir, name, OFlag::O_DIRECTORY, Mode::empty()).ok_or(Errno::EPERM)?;
    }
    make_room(root, &dir)?;
    // Should the umask take more away, the entry is never read.
    publish(&dir, Path::new(&key.name), 0o600, &encode(key, bpf))
}

fn open_root(root: &Path) -> nix::Result<OwnedFd> {
    openat(AT_FDCWD, root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Opens `name` in `dir` if it is ours, and nobody else has any right to it.
fn open_ours(dir: &OwnedFd, name: &str, flags: OFlag, mode: Mode) -> Option<OwnedFd> {
    let fd = openat(dir, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, mode).ok()?;
    let wanted = if flags.contains(OFlag::O_DIRECTORY) { libc::S_IFDIR | 0o700 } else { libc::S_IFREG | 0o600 };
    is_of(geteuid().as_raw(), &fstat(&fd).ok()?, wanted).then_some(fd)
}

fn is_of(uid: u32, stat: &FileStat, mode: libc::mode_t) -> bool {
    // Set-gid is inherited by directories and gives no right here.
    stat.st_mode & (libc::S_IFMT | 0o777) == mode && stat.st_uid == uid
}

/// Empties the cache if it is full.
fn make_room(root: &Path, dir: &OwnedFd) -> Result<()> {
    let path = DIRECTORIES.iter().fold(root.to_path_buf(), |path, name| path.join(name));
    let entries = read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    if entries.len() >= MAX_ENTRIES {
        for name in entries {
            // Another process may be emptying it too.
            let _ = unlinkat(dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
    Ok(())
}

fn encode(key: &Key, bpf: &[u8]) -> Vec<u8> {
    let mut out = header(key, bpf).to_vec();
    out.extend_from_slice(&key.bytes);
    out.extend_from_slice(bpf);
    out
}

fn decode(mut content: Vec<u8>, key: &Key) -> Option<Vec<u8>> {
    let bpf = content.get(HEADER..)?.strip_prefix(key.bytes.as_slice())?;
    if bpf.is_empty() || content[..HEADER] != header(key, bpf) {
        return None;
    }
    content.drain(..HEADER + key.bytes.len());
    Some(content)
}

fn header(key: &Key, bpf: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&(key.bytes.len() as u32).to_ne_bytes());
    header[12..16].copy_from_slice(&(bpf.len() as u32).to_ne_bytes());
    header[16..].copy_from_slice(&hash(bpf).to_ne_bytes());
    header
}

/// FNV-1a over words of eight bytes, for names and against accidents. A change within one word always shows.
const fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (word, after) = match rest.split_first_chunk::<8>() {
            Some((word, after)) => (u64::from_le_bytes(*word), after),
            None => {
                let (mut word, mut i) = (0, 0);
                while i < rest.len() {
                    word |= (rest[i] as u64) << (8 * i);
                    i += 1;
                }
                (word, rest.split_at(rest.len()).1)
            }
        };
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        // The product carries upwards only; the next word shall meet what came of the high bits too.
        hash ^= hash >> 32;
        rest = after;
    }
    hash
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
