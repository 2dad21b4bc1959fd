"""Measures runtimes against each other in one view of the machine's cgroups, and writes what came out as JSON.

Samples of different runtimes are taken in turns, in a new random order each round, each after a while of idleness as
in real use: without it, the waits of the kernel that joining a cgroup can mean do not show. Started by hack/bench,
inside a mount namespace of its own."""

import argparse
import ctypes
import json
import os
import random
import re
import select
import signal
import statistics
import subprocess
import sys
import threading
import time

import bundles

HERE = os.path.dirname(os.path.abspath(__file__))
V1 = ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd"]


class Stopwatch:
    """The program that starts and times commands (stopwatch.c)."""

    def __init__(self, path, log, environment):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([path, log], stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environment)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        wall, cpu, rss, faults, status = map(int, self.process.stdout.readline().split())
        return {"wall": wall / 1e6, "cpu": cpu / 1e3, "rss": rss / 1024, "faults": faults, "status": status}

    def run(self, *words):
        took = self.ask("run " + "\t".join(words))
        if took["status"] != 0:
            raise RuntimeError(f"{' '.join(words)}: wait status {took['status']:#x}")
        return took

    def reap(self, pid):
        return self.ask(f"reap {pid}")


class Runtime:
    def __init__(self, name, path, work):
        self.name, self.path = name, path
        self.root = os.path.join(work, "state", name)
        os.makedirs(self.root, exist_ok=True)

    def words(self, verb, *rest):
        return [self.path, "--root", self.root, verb, *rest]

    def forget_filters(self):
        subprocess.run(["rm", "-rf", os.path.join(self.root, ".cache")], check=True)


class Bench:
    def __init__(self, options):
        self.options, self.work = options, options.work
        self.v2 = os.path.exists("/sys/fs/cgroup/cgroup.procs")
        self.parent = f"bench-{os.getpid()}"
        self.log = os.path.join(self.work, "output")
        self.environment = {
            "PATH": os.environ["PATH"],
            "FLOOR_CGROUP": self.parent,
            "FLOOR_BPF": os.path.join(self.work, "filter"),
        }
        self.runtimes = {}
        for spec in options.runtime:
            name, path = spec.split("=", 1)
            self.runtimes[name] = Runtime(name, path, self.work)
        self.count = 0
        self.lock = threading.Lock()
        self.stopwatch = self.new_stopwatch()
        self.make_cgroups()
        rootfs = os.path.join(self.work, "rootfs")
        bundles.make_rootfs(rootfs, options.busybox)
        true, sleep = ["/bin/true"], ["/bin/sleep", "1000000"]

        def bundle(name, config, *floor):
            return bundles.Bundle(os.path.join(self.work, name), rootfs, config, floor)

        self.docker = bundle("docker", bundles.docker(true, self.v2))
        self.minimal = bundle("minimal", bundles.minimal(true), "--minimal")
        self.sleeper = bundle("sleeper", bundles.docker(sleep, self.v2), "--sleep")
        self.binds = bundle("binds", bundles.binds(true, self.v2, 500), "--binds", "500")
        self.userns = bundle("userns", bundles.user_namespace(true, self.v2))
        self.results = {}

    def new_stopwatch(self):
        return Stopwatch(self.options.stopwatch, self.log, self.environment)

    # ---- cgroups -------------------------------------------------------------------------------------------------

    def hierarchies(self):
        if self.v2:
            return ["/sys/fs/cgroup"]
        return [f"/sys/fs/cgroup/{name}" for name in V1 if os.path.isdir(f"/sys/fs/cgroup/{name}")]

    def make_cgroups(self):
        """The parent of all: what runtimes do to it once is not part of what a container costs."""
        for top in self.hierarchies():
            path = os.path.join(top, self.parent)
            os.makedirs(path, exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if os.path.exists(os.path.join(path, name)) and not self.v2:
                    with open(os.path.join(top, name)) as source, open(os.path.join(path, name), "w") as target:
                        target.write(source.read())

    def remove_cgroups(self):
        """With whatever a failure has left in them."""
        for top in self.hierarchies():
            for directory, _, _ in os.walk(os.path.join(top, self.parent)):
                with open(os.path.join(directory, "cgroup.procs")) as file:
                    pidfds = [(int(pid), os.pidfd_open(int(pid))) for pid in file.read().split()]
                for pid, pidfd in pidfds:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    select.select([pidfd], [], [], 10)
                    os.close(pidfd)
        for top in self.hierarchies():
            for directory, _, _ in os.walk(os.path.join(top, self.parent), topdown=False):
                try:
                    os.rmdir(directory)
                except OSError as error:
                    print(f"bench: {directory}: {error}", file=sys.stderr)

    # ---- containers ----------------------------------------------------------------------------------------------

    def new_id(self):
        with self.lock:
            self.count += 1
            return f"b{self.count}"

    def create_words(self, runtime, bundle, container):
        pid_file = os.path.join(self.work, f"{container}.pid")
        if runtime.name == "floor":
            words = runtime.words("create", "--bundle", bundle.directory, *bundle.floor, container)
            return words, os.path.join(runtime.root, container, "pid")
        bundle.write(f"/{self.parent}/{container}")
        return runtime.words("create", "--bundle", bundle.directory, "--pid-file", pid_file, container), pid_file

    def create(self, runtime, bundle, stopwatch=None):
        container = self.new_id()
        words, pid_file = self.create_words(runtime, bundle, container)
        took = (stopwatch or self.stopwatch).run(*words)
        with open(pid_file) as file:
            pid = int(file.read())
        if runtime.name != "floor":
            os.unlink(pid_file)
        return container, pid, took

    def lifecycle(self, runtime, bundle, stopwatch=None):
        stopwatch = stopwatch or self.stopwatch
        container, pid, create = self.create(runtime, bundle, stopwatch)
        start = stopwatch.run(*runtime.words("start", container))
        program = stopwatch.reap(pid)
        delete = stopwatch.run(*runtime.words("delete", container))
        steps = (create, start, program, delete)
        total = {key: sum(step[key] for step in steps) for key in ("wall", "cpu", "faults")}
        return {"create": create, "start": start, "delete": delete, "total": total}

    def started(self, runtime):
        container, pid, _ = self.create(runtime, self.sleeper)
        self.stopwatch.run(*runtime.words("start", container))
        return container, pid

    def stop(self, runtime, container, pid):
        os.kill(pid, signal.SIGKILL)
        self.stopwatch.reap(pid)
        self.stopwatch.run(*runtime.words("delete", container))

    # ---- measuring -----------------------------------------------------------------------------------------------

    def rounds(self, runtimes, samples, sample, warm=1):
        """`sample(runtime)` for each, in turns; its dictionaries of measurements, by runtime."""
        taken = {runtime.name: [] for runtime in runtimes}
        for i in range(samples + warm):
            for runtime in random.sample(runtimes, len(runtimes)):
                time.sleep(self.options.gap / 1000)
                try:
                    result = sample(runtime)
                except RuntimeError as error:
                    if runtime.name == "oarlock":
                        raise
                    print(f"    without {runtime.name}: {error}", file=sys.stderr)
                    runtimes = [other for other in runtimes if other is not runtime]
                    del taken[runtime.name]
                    continue
                if i >= warm:
                    taken[runtime.name].append(result)
        return taken

    def case(self, name, runtimes, samples, sample, warm=1):
        print(f"  {name}", file=sys.stderr, flush=True)
        runtimes = [self.runtimes[name] for name in runtimes if name in self.runtimes]
        taken = self.rounds(runtimes, samples, sample, warm)
        self.results[name] = {runtime: summary(samples) for runtime, samples in taken.items()}

    def all(self):
        options = self.options
        self.prepare()
        everyone = list(self.runtimes)
        main = [name for name in everyone if "-debian" not in name]
        n = options.samples
        self.case("docker", everyone, n, lambda runtime: self.lifecycle(runtime, self.docker))
        self.case("minimal", main, n, lambda runtime: self.lifecycle(runtime, self.minimal))
        self.verbs(main, n)
        few = max(3, n // 2)
        self.case("500 binds", main, few, lambda runtime: self.lifecycle(runtime, self.binds))
        without = [name for name in main if name != "floor"]
        self.case("user namespace", without, few, lambda runtime: self.lifecycle(runtime, self.userns))
        self.case("cold seccomp cache", without, few, self.cold)
        self.footprints(main)
        self.workers(main)
        self.crowd(main, few)

    def prepare(self):
        """One container each: caches fill, and the floor gets its filter from oarlock's state."""
        oarlock = self.runtimes["oarlock"]
        container, pid, _ = self.create(oarlock, self.docker)
        with open(os.path.join(oarlock.root, container, "seccomp.bpf"), "rb") as source:
            with open(self.environment["FLOOR_BPF"], "wb") as target:
                target.write(source.read())
        self.stop(oarlock, container, pid)
        for runtime in list(self.runtimes.values()):
            try:
                for bundle in (self.docker, self.minimal, self.binds):
                    self.lifecycle(runtime, bundle)
            except RuntimeError as error:
                if runtime.name in ("oarlock", "floor"):
                    raise
                print(f"    without {runtime.name} in this view: {error}", file=sys.stderr)
                del self.runtimes[runtime.name]

    def cold(self, runtime):
        runtime.forget_filters()
        return self.lifecycle(runtime, self.docker)

    def verbs(self, names, samples):
        running = {name: self.started(self.runtimes[name]) for name in names}

        def verb(*words):
            def sample(runtime):
                container, _ = running[runtime.name]
                return {"total": self.stopwatch.run(*runtime.words(words[0], container, *words[1:]))}

            return sample

        def exec_true(runtime):
            container, _ = running[runtime.name]
            return {"total": self.stopwatch.run(*runtime.words("exec", container, "/bin/true"))}

        def run(runtime):
            container = self.new_id()
            self.docker.write(f"/{self.parent}/{container}")
            words = runtime.words("run", "--bundle", self.docker.directory, container)
            return {"total": self.stopwatch.run(*words)}

        self.case("state", names, samples, verb("state"))
        self.case("kill", names, samples, verb("kill", str(int(signal.SIGWINCH))))
        self.case("exec", names, samples, exec_true)
        self.case("run", [name for name in names if name != "floor"], samples, run)
        for name, (container, pid) in running.items():
            self.stop(self.runtimes[name], container, pid)

    def footprints(self, names):
        """What a created init holds, and how many system calls each verb makes."""
        print("  memory and system calls", file=sys.stderr, flush=True)
        out = {}
        for name in names:
            runtime = self.runtimes[name]
            container, pid, _ = self.create(runtime, self.docker)
            with open(f"/proc/{pid}/smaps_rollup") as file:
                fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.MULTILINE))
            private = int(fields["Private_Clean"]) + int(fields["Private_Dirty"])
            self.stop(runtime, container, pid)
            calls = self.system_calls(runtime)
            out[name] = {"init private MB": private / 1024, "init anonymous MB": int(fields["Anonymous"]) / 1024} | calls
        self.results["footprint"] = out

    def system_calls(self, runtime):
        container = self.new_id()
        words, pid_file = self.create_words(runtime, self.docker, container)
        calls = {"create calls": self.traced(words, leaves_child=True)}
        with open(pid_file) as file:
            pid = int(file.read())
        calls["start calls"] = self.traced(runtime.words("start", container))
        os.waitpid(pid, 0)
        calls["delete calls"] = self.traced(runtime.words("delete", container))
        container, pid = self.started(runtime)
        calls["state calls"] = self.traced(runtime.words("state", container))
        calls["kill calls"] = self.traced(runtime.words("kill", container, str(int(signal.SIGWINCH))))
        calls["exec calls"] = self.traced(runtime.words("exec", container, "/bin/true"))
        self.stop(runtime, container, pid)
        return calls

    def traced(self, words, leaves_child=False):
        """The number of system calls of a command and its children. `create` leaves one, which is not followed further."""
        trace = os.path.join(self.work, f"trace-{self.new_id()}")
        with open(self.log, "a") as out:
            strace = subprocess.Popen(
                ["strace", "-I", "2", "-f", "-qq", "-o", trace, *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while leaves_child and strace.poll() is None:
            time.sleep(0.02)
            with open(f"/proc/{strace.pid}/task/{strace.pid}/children") as file:
                if (os.path.exists(trace) and not file.read().strip()) or time.monotonic() > deadline:
                    strace.send_signal(signal.SIGTERM)
                    break
        strace.wait(timeout=30)
        with open(trace) as file:
            return sum(1 for line in file if re.match(r"\d+ +\w+\(", line))

    def workers(self, names):
        out = {name: {} for name in names}
        for workers in (1, 2, 4, 8):
            print(f"  {workers} workers", file=sys.stderr, flush=True)
            watches = [self.new_stopwatch() for _ in range(workers)]
            for name in random.sample(names, len(names)):
                each = max(2, self.options.burst // workers)
                bundle_of = [self.copy_of(self.docker, i) for i in range(workers)]

                def work(i, runtime=self.runtimes[name], bundle_of=bundle_of, each=each):
                    for _ in range(each):
                        self.lifecycle(runtime, bundle_of[i], watches[i])

                threads = [threading.Thread(target=work, args=(i,)) for i in range(workers)]
                since = time.monotonic()
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                out[name][str(workers)] = workers * each / (time.monotonic() - since)
            for watch in watches:
                watch.process.stdin.close()
                watch.process.wait()
        self.results["containers per second by workers"] = out

    def copy_of(self, bundle, i):
        directory = os.path.join(self.work, f"worker-{i}")
        if os.path.exists(directory):
            copy = bundles.Bundle.__new__(bundles.Bundle)
            copy.directory, copy.config, copy.floor, copy.text = directory, bundle.config, bundle.floor, bundle.text
            return copy
        return bundles.Bundle(directory, os.path.join(self.work, "rootfs"), bundle.config, bundle.floor)

    def crowd(self, names, samples):
        """The cost of one more container beside many that run, each with three mounts on the host as Docker makes them."""
        oarlock, running = self.runtimes["oarlock"], []
        out = {name: {} for name in names}
        for level in self.options.crowd:
            print(f"  beside {level} running containers", file=sys.stderr, flush=True)
            while len(running) < level:
                running.append(self.started(oarlock))
                for i in range(3):
                    mount_tmpfs(os.path.join(self.work, "mounts", f"{len(running)}-{i}"))
            taken = self.rounds(
                [self.runtimes[name] for name in names], samples, lambda runtime: self.lifecycle(runtime, self.docker)
            )
            for name, results in taken.items():
                out[name][str(level)] = summary(results)
        for container, pid in running:
            self.stop(oarlock, container, pid)
        self.results["beside running containers"] = out


def become_subreaper():
    """Containers whose runtime has gone come to us, for those that the stopwatch has not started."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def mount_tmpfs(path):
    os.makedirs(path)
    if ctypes.CDLL(None, use_errno=True).mount(b"bench", path.encode(), b"tmpfs", 0, b"size=64k") != 0:
        raise OSError(ctypes.get_errno(), path)


def summary(samples):
    """Median and 95th percentile of each measurement of each step."""
    out = {}
    for step in samples[0]:
        out[step] = {}
        for key in samples[0][step]:
            if key == "status":
                continue
            values = sorted(sample[step][key] for sample in samples)
            out[step][key] = {
                "p50": round(statistics.median(values), 3),
                "p95": round(values[min(len(values) - 1, int(len(values) * 0.95))], 3),
            }
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runtime", action="append", metavar="NAME=PATH", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--stopwatch", required=True)
    parser.add_argument("--busybox", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--gap", type=float, default=150)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--burst", type=int, default=100)
    parser.add_argument("--crowd", type=int, action="append")
    options = parser.parse_args()
    become_subreaper()
    bench = Bench(options)
    try:
        bench.all()
    finally:
        bench.remove_cgroups()
    with open(options.output, "w") as file:
        json.dump(bench.results, file, indent=1)


if __name__ == "__main__":
    main()
