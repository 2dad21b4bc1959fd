"""The verbs, each with what there is before it, and how to see that it did what it says when it says so."""

import glob
import json
import os
from dataclasses import dataclass
from typing import Callable


def is_state(status):
    return lambda place, output: place.status() == status


def said(text):
    return lambda place, output: output.strip() == text


def names_it(place, output):
    return place.id in output


def gone(place, output):
    return not os.path.exists(f"{place.root}/{place.id}")


def limited(place, output):
    files = glob.glob(f"/sys/fs/cgroup/pids{place.cgroup}/pids.max") + glob.glob(f"/sys/fs/cgroup{place.cgroup}/pids.max")
    return not files or open(files[0]).read().strip() == "77"


def mounted(place, output):
    with open(f"/proc/{place.pid()}/mountinfo") as file:
        return " /mnt/hot " in file.read()


@dataclass
class Verb:
    name: str
    before: tuple  # verbs that bring the container to where this one finds it
    words: tuple  # of the command line; {id} {bundle} {work} are put in
    did: Callable  # (place, its stdout): whether it did what it was told to
    attach: bool = False  # init takes part
    fresh: bool = False  # begins with an empty state root
    config: str = "waiting"
    warns: str = ""  # what it says on stderr where it leaves out what it could not read


CREATE = ("create", "--bundle", "{bundle}", "--pid-file", "{work}/pid", "{id}")
START = ("start", "{id}")
PAUSE = ("pause", "{id}")
RUNNING = (CREATE, START)

VERBS = [
    Verb("create", (), CREATE, is_state("created")),
    Verb("create-first", (), CREATE, is_state("created"), fresh=True),
    Verb("create-userns", (), CREATE, is_state("created"), config="userns"),
    Verb("start", (CREATE,), START, is_state("running"), attach=True),
    Verb("run", (), ("run", "--bundle", "{bundle}", "{id}"), said("ok"), config="ending"),
    Verb("run-detach", (), ("run", "--detach", "--bundle", "{bundle}", "--pid-file", "{work}/pid", "{id}"), is_state("running")),
    Verb("exec", RUNNING, ("exec", "{id}", "/bin/echo", "ok"), said("ok")),
    Verb("exec-detach", RUNNING, ("exec", "--detach", "--pid-file", "{work}/pid", "{id}", "/bin/true"), is_state("running")),
    Verb("kill", RUNNING, ("kill", "{id}", "WINCH"), is_state("running")),
    Verb("pause", RUNNING, PAUSE, is_state("paused")),
    Verb("resume", (*RUNNING, PAUSE), ("resume", "{id}"), is_state("running")),
    Verb("update", RUNNING, ("update", "--pids-limit", "77", "{id}"), limited),
    Verb("delete", (*RUNNING, ("kill", "{id}", "KILL")), ("delete", "{id}"), gone),
    Verb("delete-force", RUNNING, ("delete", "--force", "{id}"), gone),
    Verb("delete-paused", (*RUNNING, PAUSE), ("delete", "--force", "{id}"), gone),
    Verb("state", RUNNING, ("state", "{id}"), names_it),
    Verb("list", RUNNING, ("list",), names_it, warns="warning: list: faults-"),
    Verb("ps", RUNNING, ("ps", "{id}"), lambda place, output: "sleep" in output),
    Verb("events", RUNNING, ("events", "--stats", "{id}"), lambda place, output: json.loads(output)["id"] == place.id),
    Verb("mounts-add", RUNNING, ("mounts", "add", "{id}", "{work}/mounts.json"), mounted),
]  # fmt: skip
