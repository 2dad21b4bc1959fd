"""Lifecycles and execs by the thousand, some of them killed at a random moment; and what the host holds, before and after."""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

from place import Place, read
from verbs import CREATE

START = ("start", "{id}")
EXEC = ("exec", "{id}", "/bin/true")
DELETE = ("delete", "--force", "{id}")


def figures(place):
    """What is counted of the host. Others use it as well: what is not ours alone may move a little."""
    files = read("/proc/sys/fs/file-nr").split()[0]
    memory = {line.split(":")[0]: int(line.split()[1]) for line in read("/proc/meminfo").splitlines()}
    cgroups = sum(int(line.split()[2]) for line in read("/proc/cgroups").splitlines()[1:])
    caches = {line.split()[0]: int(line.split()[1]) for line in read("/proc/slabinfo").splitlines()[2:]}
    ours = [directory for directory in place.hierarchies() if os.path.isdir(directory + place.cgroup)]
    return {
        "descriptors of the caller": len(os.listdir("/proc/self/fd")),
        "children of the caller": len(read(f"/proc/self/task/{os.getpid()}/children").split()),
        "mounts": len(read("/proc/self/mountinfo").splitlines()),
        "cgroups of the containers": len(ours),
        "entries in the state root": len(os.listdir(place.root)) if os.path.isdir(place.root) else 0,
        "files in the cache": len(os.listdir(f"{place.root}/.cache/seccomp")),
        "open files (host)": int(files),
        "processes (host)": sum(name.isdigit() for name in os.listdir("/proc")),
        "cgroups (host, all hierarchies)": cgroups,
        "namespaces of mounts (slab)": caches.get("mnt_cache", 0),
        "pid structures (slab)": caches.get("pid", 0),
        "network namespaces (slab)": caches.get("net_namespace", 0),
        "unreclaimable slab, MB": memory["SUnreclaim"] // 1024,
        "used memory, MB": (memory["MemTotal"] - memory["MemAvailable"]) // 1024,
    }


# What is ours alone, and must not differ at all.
EXACT = 6


class Soak:
    def __init__(self, place, seed):
        self.place, self.random = place, random.Random(seed)
        self.counts = dict.fromkeys(("lifecycles", "execs", "killed", "failed"), 0)
        self.usual = {}

    def maybe_killed(self, words):
        """The verb, which is killed now and then, at a moment within the time that it usually takes. Whether it succeeded."""
        if self.random.random() >= 0.2:
            began = time.monotonic()
            code, _, err = self.place.call(words)
            took = time.monotonic() - began
            self.usual[words[0]] = self.usual.get(words[0], took) * 0.9 + took * 0.1
            if code < 0:
                sys.exit(f"soak: {words[0]} hangs")
            return code == 0
        process = subprocess.Popen(
            self.place.command(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(self.random.random() * self.usual.get(words[0], 0.02))
        # Not Popen.kill, which may reap it.
        os.kill(process.pid, signal.SIGKILL)
        self.counts["killed"] += 1
        return self.place.wait(process) == 0

    def lifecycle(self, execs):
        done = self.maybe_killed(CREATE) and self.maybe_killed(START)
        for _ in range(execs):
            if done:
                self.maybe_killed(EXEC)
            self.counts["execs"] += done
        if self.random.random() < 0.5:
            self.maybe_killed(DELETE)
        code, _, err = self.place.call(DELETE)
        if code != 0:
            self.counts["failed"] += 1
            print(f"delete --force ({code}): {err.strip()}", flush=True)
        if not self.place.reap(True):
            self.counts["failed"] += 1
            print("a process is left", flush=True)
        self.counts["lifecycles"] += 1

    def run(self, lifecycles):
        while self.counts["lifecycles"] < lifecycles or self.counts["execs"] < lifecycles:
            self.lifecycle(0 if self.counts["execs"] >= lifecycles else 2)


def settled(place):
    """The kernel frees namespaces and cgroups a while after the last process has left them."""
    time.sleep(5)
    return figures(place)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime")
    parser.add_argument("work")
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    place = Place(args.runtime, args.work)
    soak = Soak(place, args.seed)
    try:
        # Caches of the kernel and ours are filled by the first hundred.
        soak.run(min(100, args.number))
        soak.counts = dict.fromkeys(soak.counts, 0)
        before, began = settled(place), time.monotonic()
        soak.run(args.number)
        seconds, after = time.monotonic() - began, settled(place)
    finally:
        place.clear()
    print(f"{args.number} asked for; {', '.join(f'{n} {what}' for what, n in soak.counts.items())}; {seconds:.0f} s\n")
    print("| | before | after |\n|---|---|---|")
    for name in before:
        print(f"| {name} | {before[name]} | {after[name]} |")
    differing = [name for name in list(before)[:EXACT] if before[name] != after[name]]
    if differing or soak.counts["failed"]:
        sys.exit(f"soak: not flat: {', '.join(differing) or 'see above'}")


main()
