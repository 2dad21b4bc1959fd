//! A new file that appears with its whole content or not at all. Whoever is killed meanwhile leaves nothing: the file has no
//! name until it is written (O_TMPFILE). Not for a file whose old content must be there until the new one is: that takes a
//! rename.

use std::fs::File;
use std::io::{Error, Result, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::again::openat;

/// Writes `path`, below `dir` if it is relative, in place of what has that name; the umask is taken from `mode`.
pub fn publish(dir: impl AsFd, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let dir = dir.as_fd();
    let name = path.file_name().ok_or(Errno::EISDIR)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = Mode::from_bits_truncate(mode);
    let write = |file, content| -> Result<File> {
        let mut file = File::from(file);
        file.write_all(content)?;
        Ok(file)
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    match openat(dir, parent, flags | OFlag::O_TMPFILE, mode) {
        Ok(file) => {
            let file = write(file, content)?;
            let link = || {
                let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(AT_FDCWD, nameless.as_str(), dir, path, AtFlags::AT_SYMLINK_FOLLOW)
            };
            match link() {
                Err(Errno::EEXIST) => {
                    unlinkat(dir, path, UnlinkatFlags::NoRemoveDir)?;
                    Ok(link()?)
                }
                result => Ok(result?),
            }
        }
        // A file system that has no files without names: one that is renamed in the end.
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
            let temporary = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
            // Left over by a process of the same number that died here.
            let _ = unlinkat(dir, &temporary, UnlinkatFlags::NoRemoveDir);
            let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            let file = openat(dir, &temporary, flags, mode)?;
            write(file, content).and_then(|_| renameat(dir, &temporary, dir, path).map_err(Error::from)).inspect_err(
                |_| {
                    let _ = unlinkat(dir, &temporary, UnlinkatFlags::NoRemoveDir);
                },
            )
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_replaces_what_has_the_name_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        for text in ["first", "second"] {
            publish(AT_FDCWD, &path, 0o644, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_in_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pid")).unwrap();
        assert!(publish(AT_FDCWD, &dir.path().join("pid"), 0o644, b"1").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
