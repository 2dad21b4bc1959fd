"""Which errors fit which system call: those that its manual page names and a host can come to have."""

import errno
import re

# Descriptors are used up, or the memory for them.
_OPENS = "EMFILE ENFILE ENOMEM"

_FITTING = {
    "read pread64 readv": "EINTR EIO",
    "write pwrite64 writev": "EINTR ENOSPC EIO EPERM",
    "open openat openat2": f"EINTR {_OPENS} EIO EPERM",
    "creat mkdir mkdirat mknod mknodat symlink symlinkat link linkat rename renameat renameat2": "ENOSPC ENOMEM EIO",
    "unlink unlinkat rmdir": "EIO EPERM",
    "stat lstat fstat newfstatat statx fstatfs statfs readlink readlinkat getdents64": "ENOMEM EIO",
    "chmod fchmod fchmodat chown fchown fchownat lchown": "EPERM EIO",
    "fork vfork clone clone3": "EAGAIN ENOMEM EPERM",
    "execve execveat": "ENOMEM EIO",
    "mmap brk mremap": "ENOMEM",
    "socket socketpair pipe pipe2 pidfd_open memfd_create inotify_init1 signalfd4 epoll_create1 dup dup3": _OPENS,
    "fcntl": "EMFILE",
    "connect": "EINTR EAGAIN",
    "sendmsg sendto": "EINTR ENOMEM",
    "recvmsg recvfrom": "EINTR ENOMEM",
    "poll ppoll select": "EINTR ENOMEM",
    "wait4 waitid": "EINTR",
    "flock": "EINTR ENOMEM",
    "getrandom": "EINTR",
    "open_tree open_tree_attr fsopen fsmount": f"{_OPENS} EPERM",
    "mount move_mount mount_setattr fsconfig": "ENOMEM ENOSPC EPERM",
    "umount2 pivot_root chroot chdir fchdir": "ENOMEM EPERM",
    "setns unshare": "ENOMEM ENOSPC EPERM",
    "seccomp keyctl bpf": "ENOMEM EPERM",
    "prctl capset setresuid setresgid setgroups setsid sethostname setdomainname": "EPERM",
    "prlimit64 sched_setaffinity sched_setattr ioprio_set": "EPERM",
    "pidfd_send_signal kill": "EPERM",
    "ioctl": "ENOMEM EIO",
    "getcwd": "ENOMEM",
}
FITTING = {name: errors.split() for names, errors in _FITTING.items() for name in names.split()}


# Newer than a distribution's headers may be.
_NEW = {467: "open_tree_attr"}


def names():
    """The names of this machine's system calls, by number."""
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h") as file:
        return _NEW | {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)", file.read())}


def number(name):
    return getattr(errno, name)
