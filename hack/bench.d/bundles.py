"""The bundles that are measured: a busybox root, and documents as Docker and as a careful person would write them."""

import json
import os
import shutil

PROFILE = "/usr/share/containers/seccomp.json"  # golang-github-containers-common
CAPABILITIES = [
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
]  # fmt: skip
MASKED = [
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
]  # fmt: skip
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def seccomp():
    """The profile of Docker's relatives, as they resolve it for these capabilities on this architecture."""
    with open(PROFILE) as file:
        profile = json.load(file)

    def applies(rule):
        wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
        if any(cap not in CAPABILITIES for cap in wanted.get("caps", [])):
            return False
        if any(cap in CAPABILITIES for cap in unwanted.get("caps", [])):
            return False
        if wanted.get("arches") and not {"amd64", "x32", "x86"} & set(wanted["arches"]):
            return False
        return not {"amd64", "x32", "x86"} & set(unwanted.get("arches", []))

    rules = []
    for rule in filter(applies, profile["syscalls"]):
        kept = {"names": rule["names"], "action": rule["action"]}
        if rule.get("args"):
            kept["args"] = [arg for arg in rule["args"] if arg]
        if rule.get("errnoRet") is not None:
            kept["errnoRet"] = rule["errnoRet"]
        rules.append(kept)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }


def minimal(args):
    """Five namespaces, /proc and /dev."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "capabilities": {name: CAPABILITIES for name in ("bounding", "effective", "permitted")},
        },
        "root": {"path": "rootfs"},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc", "cgroup")]},
    }  # fmt: skip


def docker(args, v2):
    """What Docker writes for `docker run -m 256m --cpus 0.5 --pids-limit 100`."""
    config = minimal(args)
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
    config["process"]["oomScoreAdj"] = 0
    safe = ["nosuid", "noexec", "nodev"]
    config["mounts"] += [
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*safe, "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*safe, "mode=1777", "size=67108864"]},
    ]
    for name in ("resolv.conf", "hostname", "hosts"):
        bind = {"destination": f"/etc/{name}", "type": "bind", "source": f"etc/{name}", "options": ["rbind", "rprivate"]}
        config["mounts"].append(bind)
    rules = [{"allow": False, "access": "rwm"}]
    for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)):
        rules.append({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"})
    rules.append({"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
    resources = {"devices": rules}
    if not v2:  # a v2 view of a host whose controllers are on v1 has none of these
        resources |= {
            "memory": {"limit": 268435456},
            "pids": {"limit": 100},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000},
        }
    config["linux"] |= {
        "resources": resources,
        "maskedPaths": MASKED,
        "readonlyPaths": READONLY,
        "seccomp": seccomp(),
    }
    return config


def user_namespace(args, v2):
    config = docker(args, v2)
    config["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    return config


def binds(args, v2, count):
    config = docker(args, v2)
    for i in range(count):
        bind = {"destination": f"/mnt/{i}", "type": "bind", "source": "volume", "options": ["rbind", "rprivate"]}
        config["mounts"].append(bind)
    return config


class Bundle:
    """A directory with a root and config.json. Each container gets a config.json of its own cgroup."""

    def __init__(self, directory, rootfs, config, floor):
        self.directory, self.config, self.floor = directory, config, floor
        # Made here, and once: workers share the processors with us, and json.dump takes as long as some runtimes.
        self.text = json.dumps(config | {"linux": config["linux"] | {"cgroupsPath": "CGROUP"}})
        os.makedirs(os.path.join(directory, "etc"))
        os.makedirs(os.path.join(directory, "volume"))
        for name in ("resolv.conf", "hostname", "hosts"):
            with open(os.path.join(directory, "etc", name), "w") as file:
                file.write("# bench\n")
        shutil.copytree(rootfs, os.path.join(directory, "rootfs"), symlinks=True)

    def write(self, cgroup):
        with open(os.path.join(self.directory, "config.json"), "w") as file:
            file.write(self.text.replace('"CGROUP"', json.dumps(cgroup)))


def make_rootfs(root, busybox):
    for name in ("bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var"):
        os.makedirs(os.path.join(root, name))
    shutil.copy(busybox, os.path.join(root, "bin/busybox"))
    for applet in ("true", "sleep", "sh", "cat"):
        os.symlink("busybox", os.path.join(root, "bin", applet))
    with open(os.path.join(root, "etc/passwd"), "w") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\n")
    for name in ("resolv.conf", "hostname", "hosts"):
        open(os.path.join(root, "etc", name), "w").close()
    for i in range(500):
        os.mkdir(os.path.join(root, "mnt", str(i)))
