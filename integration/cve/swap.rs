//! The other side of a race: exchanges two names of a directory, again and again, until it is dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Exchanges `a` and `b` (renameat2(2), RENAME_EXCHANGE) as fast as it can: each always exists, as one or the other.
pub struct Swapper {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    pub fn new(a: &Path, b: &Path) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (a, b): (PathBuf, PathBuf) = (a.to_owned(), b.to_owned());
        let (told, counted) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE) {
                    // The other side has taken one of them away, for a while.
                    Err(Errno::ENOENT) => std::thread::yield_now(),
                    exchanged => {
                        exchanged.expect("renameat2");
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { stop, count, thread: Some(thread) }
    }

    /// How often the names have been exchanged so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// How many times an attack is tried: `CVE_ROUNDS`, or a number that suits a quick run.
pub fn rounds() -> usize {
    std::env::var("CVE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}
