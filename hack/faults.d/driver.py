"""For each verb: count its system calls, then kill it, or let a call fail, at each of them; judge what is left each time."""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter

import errnos
from place import PATIENCE, Place, read
from verbs import CREATE, VERBS

NAMES = errnos.names()
NUMBERS = {name: number for number, name in NAMES.items()}
KILLS = ("kill", "all")
# Nothing that a person could act on, or that says that the runtime does not know what it does.
NO_ERROR = ("panicked", "internal error", "RUST_BACKTRACE", "unreachable", "thread '")


class Injector:
    def __init__(self, binary, place):
        self.binary, self.place = binary, place

    def run(self, verb, point):
        """The verb with something going wrong at the point: exit code (None: it hung), stdout, stderr, report."""
        place = self.place
        report = f"{place.work}/report"
        attach = str(place.pid()) if verb.attach else "0"
        where = ["count"]
        if point is not None:
            # A call that has no name here is named by its number.
            where = [str(point[0]), str(point[1]), str(NUMBERS.get(point[2], point[2])), str(point[3])]
        command = [self.binary, report, str(PATIENCE), attach, *where, "--", *place.command(verb.words, verb.config)]
        with open(f"{place.work}/out", "w") as out, open(f"{place.work}/err", "w") as err:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False)
        if done.returncode not in (0, 124):
            raise RuntimeError(f"inject: {done.returncode}: {read(f'{place.work}/err')}")
        lines = read(report).splitlines()
        code = next((int(line.split()[1]) for line in lines if line.startswith("exit ")), None)
        return code, read(f"{place.work}/out"), read(f"{place.work}/err"), lines


class Faults:
    def __init__(self, injector, place):
        self.injector, self.place = injector, place
        self.failures = []
        self.where = ""  # the path of the call that went wrong, if it has one

    def prepare(self, verb):
        if verb.fresh:
            self.place.forget_root()
        for words in verb.before:
            code, _, err = self.place.call(words, verb.config)
            if code != 0:
                return f"{words[0]} before it: {err.strip()}"
        if verb.name == "delete":
            # The killed one has ended when we, its parent now, have reaped it.
            self.place.reap(True)
        return None

    def begin_anew(self):
        """As after a first container: its parent cgroup is there, the cache filled, the mount namespace pinned."""
        self.place.clear()
        for config in ("userns", "waiting"):
            code, _, err = self.place.call(CREATE, config)
            if trouble := self.clean() or (code != 0 and err):
                sys.exit(f"faults: a container that is left in peace: {trouble}")

    def count(self, verb):
        """Its calls: (process, number among the process's, name)."""
        self.begin_anew()
        if trouble := self.prepare(verb):
            sys.exit(f"faults: {verb.name}: {trouble}")
        code, out, err, lines = self.injector.run(verb, None)
        if code != 0 or not verb.did(self.place, out):
            sys.exit(f"faults: {verb.name} fails by itself ({code}): {err}")
        if trouble := self.clean():
            sys.exit(f"faults: {verb.name}: {trouble[0]}")
        calls, seen = [], Counter()
        for line in lines:
            if line.startswith("call "):
                process, number = map(int, line.split()[1:])
                seen[process] += 1
                calls.append((process, seen[process], NAMES.get(number, str(number))))
        return calls

    def points(self, calls):
        """All that can go wrong: (process, call, name, what)."""
        for process, call, name in calls:
            for kill in KILLS:
                yield process, call, name, kill
            for error in errnos.FITTING.get(name, ()):
                yield process, call, name, error

    def clean(self):
        """`delete --force`, and what is wrong with it or left after it."""
        place, wrong = self.place, []
        code, _, err = place.call(("delete", "--force", "{id}"))
        if code != 0:
            wrong.append(f"delete --force ({code}): {err.strip()}" if code >= 0 else "HANG delete --force")
        if not place.reap(True):
            wrong.append("LEAK process " + children())
        return wrong

    def try_one(self, verb, point, before, tally):
        if trouble := self.prepare(verb):
            # The point before has left something that is in the way.
            self.begin_anew()
            self.prepare(verb)
            return [trouble]
        raw = point if point[3] in KILLS else (*point[:3], errnos.number(point[3]))
        code, out, err, lines = self.injector.run(verb, raw)
        if not any(line.startswith("at ") for line in lines):
            tally["missed"] += 1
        self.where = next((line.split(" ", 3)[3] for line in lines if line.startswith("at ")), "")
        wrong = self.judge(verb, point, code, out, err, lines)
        tally["refused" if code else "absorbed"] += 1
        wrong += self.answers(verb)
        wrong += self.clean()
        wrong += self.left(before)
        return wrong

    def judge(self, verb, point, code, out, err, lines):
        if code is None:
            return ["HANG " + next(line for line in lines if line.startswith("hang"))]
        if bad := [word for word in NO_ERROR if word in err]:
            return [f"BAD says {bad[0]!r}: {err.strip()}"]
        # `run` and `exec` end as their program does. And in libc's own beginning nobody can say anything yet.
        is_killed = point[3] in KILLS and (point[0] == 0 or point[3] == "all" or code == 137)
        is_killed |= point[2:] == ("brk", "ENOMEM") and code == 139
        if code == 0:
            # Init, with nobody to tell, ends when its last steps fail: after those of `create` it is stopped.
            ended = point[0] != 0 and verb.words[0] == "create" and self.place.status() == "stopped"
            warned = verb.warns and verb.warns in err
            if point[3] not in KILLS and not ended and not warned and not verb.did(self.place, out):
                return [f"BAD says that it is done: {out.strip()[:200]!r} {err.strip()}"]
            return []
        if is_killed:
            return []
        if point[3] == "EINTR":
            return [f"BAD gives up at EINTR: {err.strip()}"]
        words = [line for line in err.splitlines() if line.strip()]
        if not words:
            return [f"BAD fails without a word ({code})"]
        return []

    def answers(self, verb):
        wrong = []
        code, _, err = self.place.call(("state", "{id}"))
        if code < 0:
            wrong.append("HANG state")
        elif code != 0 and "container does not exist" not in err:
            wrong.append(f"BAD state ({code}): {err.strip()}")
        code, _, err = self.place.call(("list",))
        if code != 0 or err:
            wrong.append(f"BAD list ({code}): {err.strip()}" if code >= 0 else "HANG list")
        return wrong

    def left(self, before):
        now = self.place.snapshot()
        changes = [f"LEAK {what}" for what in sorted(now - before)] + [f"LEAK missing {what}" for what in sorted(before - now)]
        return changes

    def verb(self, verb, points, calls):
        tally, began = Counter(points=len(points)), time.monotonic()
        self.begin_anew()
        before = self.place.snapshot()
        for point in points:
            wrong = self.try_one(verb, point, before, tally)
            for text in wrong:
                kind = text.split()[0]
                tally[kind if kind in ("LEAK", "HANG") else "BAD"] += 1
                line = f"{verb.name} {point[0]}:{point[1]} {point[2]} {self.where} {point[3]}: {text}"
                self.failures.append(line)
                print(line, flush=True)
            if any(text.startswith("LEAK") for text in wrong):
                self.begin_anew()
                before = self.place.snapshot()
        print(
            f"{verb.name:14} {len(calls):6} {tally['points']:7} {tally['refused']:8} {tally['absorbed']:9} {tally['missed']:7}"
            f" {tally['LEAK']:6} {tally['HANG']:6} {tally['BAD']:6}   {time.monotonic() - began:6.1f}",
            flush=True,
        )


def children():
    pids = read(f"/proc/self/task/{os.getpid()}/children").split()
    return "; ".join(f"{pid} {read(f'/proc/{pid}/comm').strip()}" for pid in pids)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime")
    parser.add_argument("injector")
    parser.add_argument("work")
    parser.add_argument("--points", type=int, help="about so many, in even strides")
    parser.add_argument("--only", default="", help="words that a point's description has: openat ENOMEM")
    parser.add_argument("verbs", nargs="*")
    args = parser.parse_intermixed_args()
    chosen = [verb for verb in VERBS if not args.verbs or verb.name in args.verbs]
    if unknown := set(args.verbs) - {verb.name for verb in VERBS}:
        sys.exit(f"faults: no such verb: {' '.join(unknown)}")
    place = Place(args.runtime, args.work)
    faults = Faults(Injector(args.injector, place), place)
    print("verb            calls  points  refused  absorbed  missed  leaks  hangs    bad   seconds", flush=True)
    try:
        counted = [(verb, faults.count(verb)) for verb in chosen]
        total = sum(len(list(faults.points(calls))) for _, calls in counted)
        stride = max(1, round(total / args.points)) if args.points else 1
        at = 0
        for verb, calls in counted:
            points = [p for p in faults.points(calls) if set(args.only.split()) <= {p[2], p[3], f"{p[0]}:{p[1]}", f"{p[0]}:"}]
            faults.verb(verb, points[at % stride :: stride], calls)
            at += 1
    finally:
        place.clear()
    print(f"{len(faults.failures)} failures")
    sys.exit(bool(faults.failures))


main()
