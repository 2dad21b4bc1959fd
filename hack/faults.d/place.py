"""One container's place: its bundle, state root and cgroup, and everything on the host that it may not change for good."""

import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../bench.d"))
import bundles  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_SHARED = 0x20000, 1 << 14, 1 << 18, 1 << 20
# What nothing takes longer than; a slower machine says by how much.
PATIENCE = 30 * int(os.environ.get("TEST_PATIENCE", "1"))
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx")


def own_mounts(libc):
    """Mounts of our own, and shared ones as on a host: what others mount meanwhile is not seen."""
    # A mount namespace is pinned only in an older one, and the kernel numbers them by processor (mnt_ns_loop()).
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
    done = libc.unshare(CLONE_NEWNS) == 0
    for propagation in (MS_PRIVATE, MS_SHARED):
        done = done and libc.mount(None, b"/", None, MS_REC | propagation, None) == 0
    if not done:
        sys.exit(f"no mounts of our own: {os.strerror(ctypes.get_errno())}")


class Place:
    def __init__(self, runtime, work):
        self.runtime, self.work = runtime, work
        self.id = f"faults-{os.getpid()}"
        self.cgroup = f"/{self.id}-cgroups/{self.id}"
        self.root = f"{work}/state"
        # Whoever ends us finds nothing left, either.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
        libc = ctypes.CDLL(None, use_errno=True)
        # Whoever loses its parent becomes ours: no process can get lost.
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        own_mounts(libc)
        self.make_bundles()
        with open(f"{work}/mounts.json", "w") as file:
            json.dump([{"destination": "/mnt/hot", "type": "bind", "source": f"{work}/hot", "options": ["bind"]}], file)
        os.mkdir(f"{work}/hot")

    def make_bundles(self):
        v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        bundles.make_rootfs(f"{self.work}/rootfs", shutil.which("busybox"))
        for applet in ("echo",):
            os.symlink("busybox", f"{self.work}/rootfs/bin/{applet}")
        os.mkdir(f"{self.work}/rootfs/mnt/hot")
        sleep = ["/bin/sleep", "1000000"]
        configs = {
            "waiting": bundles.docker(sleep, v2),
            "ending": bundles.docker(["/bin/echo", "ok"], v2),
            "userns": bundles.user_namespace(sleep, v2),
        }
        for name, config in configs.items():
            # One limit that every host has is enough.
            config["linux"]["resources"] = {key: value for key, value in config["linux"]["resources"].items() if key != "cpu"}
            bundles.Bundle(f"{self.work}/{name}", f"{self.work}/rootfs", config, ()).write(self.cgroup)
        subprocess.run(["chown", "-R", "100000:100000", f"{self.work}/userns/rootfs"], check=True)
        os.chmod(self.work, 0o755)

    def command(self, words, config="waiting"):
        fill = {"id": self.id, "bundle": f"{self.work}/{config}", "work": self.work}
        return [self.runtime, "--root", self.root, *(word.format(**fill) for word in words)]

    def call(self, words, config="waiting"):
        """A verb left in peace: its exit code, stdout, stderr; -1 when it hangs."""
        out, err = f"{self.work}/out", f"{self.work}/err"
        # Files: a pipe would stay open as long as the container.
        with open(out, "w") as stdout, open(err, "w") as stderr:
            process = subprocess.Popen(self.command(words, config), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        return self.wait(process), read(out), read(err)

    def wait(self, process):
        """Its exit code, -1 when it hangs. Whoever else ends meanwhile is reaped: init does not end before those in its pid
        namespace are, and those that `exec` has left are ours."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode
            if pid == 0:
                if time.monotonic() > deadline:
                    process.kill()
                    process.wait()
                    return -1
                time.sleep(0.0005)

    def state(self):
        code, out, err = self.call(("state", "{id}"))
        return json.loads(out) if code == 0 else {}

    def status(self):
        return self.state().get("status")

    def pid(self):
        return self.state().get("pid", 0)

    def reap(self, all_of_them):
        """Reaps what has ended. With `all_of_them`, until we have no child left; whether that came to be."""
        deadline = time.monotonic() + PATIENCE / 3
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                if not all_of_them or time.monotonic() > deadline:
                    return not all_of_them
                time.sleep(0.001)

    def hierarchies(self):
        top = "/sys/fs/cgroup"
        below = [f"{top}/{name}" for name in os.listdir(top) if os.path.isdir(f"{top}/{name}")]
        return [top, *below]

    def snapshot(self):
        """What must be the same afterwards, as a set of words."""
        seen = set()
        pinned = f"{self.root}/.pin"
        with open("/proc/self/mountinfo") as file:
            for line in file:
                fields = line.split(" ")
                if not fields[4].startswith(pinned):
                    seen.add(f"mount {fields[3]} at {fields[4]} {fields[5]}")
        for hierarchy in self.hierarchies():
            directory = f"{hierarchy}/{self.id}-cgroups"
            if os.path.isdir(directory):
                seen.update(f"cgroup {directory}/{name}" for name in os.listdir(directory) if os.path.isdir(f"{directory}/{name}"))
        for name in DEVICES:
            stat = os.stat(f"/dev/{name}")
            seen.add(f"device {name} {stat.st_mode:o} {stat.st_uid}:{stat.st_gid} {stat.st_rdev:x}")
        seen.add(f"host name {os.uname().nodename}")
        for directory in (self.work, f"{self.work}/hot", *self.trees()):
            seen.update(list_of(directory))
        # Finished entries of the cache stay, under names without a dot.
        seen.update(word for word in list_of(f"{self.root}/.cache/seccomp") if "." in os.path.basename(word.split()[1]))
        if os.path.isdir(self.root):
            known = (".pin", ".cache")
            seen.update(f"file {self.root}/{name}" for name in os.listdir(self.root) if name not in known)
        return seen

    def trees(self):
        for bundle in ("waiting", "ending", "userns"):
            for directory, names, _ in os.walk(f"{self.work}/{bundle}"):
                yield directory
                if directory.endswith("rootfs/mnt"):
                    names.clear()

    def forget_root(self):
        """An empty state root, as before the first container."""
        self.unpin()
        shutil.rmtree(self.root, ignore_errors=True)

    def unpin(self):
        pin = f"{self.root}/.pin"
        subprocess.run(["umount", "-R", "-q", pin], stderr=subprocess.DEVNULL, check=False)

    def clear(self):
        self.call(("delete", "--force", "{id}"))
        self.reap(True)
        self.forget_root()
        for hierarchy in self.hierarchies():
            for name in (self.cgroup, f"/{self.id}-cgroups"):
                if os.path.isdir(hierarchy + name):
                    try:
                        os.rmdir(hierarchy + name)
                    except OSError as error:
                        print(f"left: {error}", file=sys.stderr)


IGNORED = ("out", "err", "report", "state", "pid")


def list_of(directory):
    if not os.path.isdir(directory):
        return
    for entry in os.scandir(directory):
        if entry.name in IGNORED:
            continue
        stat = entry.stat(follow_symlinks=False)
        # A directory has more links and another size for what is in it, which is listed itself.
        yield f"file {entry.path} {stat.st_mode:o} {stat.st_uid}:{stat.st_gid}"


def read(path):
    with open(path, errors="replace") as file:
        return file.read()
