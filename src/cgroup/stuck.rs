//! Why a process that was killed, or is to be frozen, does neither. Words for errors, not for decisions.

use std::fs;

use super::freeze::v1_state;
use super::layout::{self, Layout};
use crate::sys::{read_line, read_text};

/// Which of these processes no signal reaches now, nor a freezer; `None` if each could end, or is frozen.
pub fn words(pids: &[i32]) -> Option<String> {
    let stuck = |pid: &i32| sleeps_in(*pid).filter(|_| !is_frozen(*pid));
    let (pid, place) = pids.iter().find_map(|pid| Some((pid, stuck(pid)?)))?;
    let place = if place.is_empty() { place } else { format!(", {place}") };
    Some(format!(
        "process {pid} is in uninterruptible sleep (state D{place}) and can end only after that (hint: it waits for a \
         file system or a device that is frozen or does not answer)"
    ))
}

/// Where in the kernel a thread of the process sleeps uninterruptibly.
fn sleeps_in(pid: i32) -> Option<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.flatten().find_map(|thread| {
        let stat = read_line(thread.path().join("stat")).ok()?;
        place(&stat, &read_line(thread.path().join("wchan")).unwrap_or_default())
    })
}

/// Where a thread sleeps uninterruptibly, by its `stat` and `wchan` (proc_pid_stat(5), proc_pid_wchan(5)); empty where
/// that may not be told.
fn place(stat: &str, wchan: &str) -> Option<String> {
    // The name, in parentheses, may hold anything; what follows the last one does not.
    let (_, fields) = stat.rsplit_once(") ")?;
    // What cgroup v1 has frozen has the same state, and wakes when it is thawed.
    let sleeps = fields.starts_with('D') && wchan != "__refrigerator";
    sleeps.then(|| if wchan == "0" { String::new() } else { wchan.to_owned() })
}

/// Whether cgroup v1 has frozen the process, where it is or above. The state does not tell: since Linux 6.1 a sleep that
/// can be frozen is frozen in place, in state D and under its own name (`hrtimer_nanosleep`).
fn is_frozen(pid: i32) -> bool {
    let state = || {
        let text = read_text(format!("/proc/{pid}/cgroup")).ok()?;
        let (_, path) = text.lines().filter_map(layout::line).find(|(c, _)| c.split(',').any(|c| c == "freezer"))?;
        let layout = Layout::probe().ok()?;
        let mount = &layout.v1("freezer")?.mount;
        v1_state(&mount.join(path.strip_prefix('/')?)).ok()
    };
    state().is_some_and(|state| state != "THAWED")
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_place_is_what_the_kernel_tells() {
        let asleep = "7 (a) R (b) D 1 7";
        assert_eq!(place(asleep, "percpu_rwsem_wait").as_deref(), Some("percpu_rwsem_wait"));
        // Hidden, or a kernel without.
        assert_eq!(place(asleep, "0").as_deref(), Some(""));
        assert_eq!(place(asleep, "").as_deref(), Some(""));
        assert_eq!(place(asleep, "__refrigerator"), None);
        assert_eq!(place("7 (a) D (b) S 1 7", "do_wait"), None);
    }
}
