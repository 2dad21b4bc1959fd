"""The targets that oarlock has set itself, each with what a run of hack/bench found."""

VIEWS = ("v1", "v2")
MANY = "1000"


def median(results, case, runtime, step="total", key="wall"):
    return results.get(case, {}).get(runtime, {}).get(step, {}).get(key, {}).get("p50")


class Targets:
    """Rows of a table: a measure, its target, what was found, and whether it was met, for each view."""

    def __init__(self, views, binary_bytes):
        self.views = views
        self.rows = []
        self.ratio("lifecycle / crun", {"v1": 0.40, "v2": 0.55}, "docker", "crun")
        self.ratio("lifecycle / floor", {"v1": 1.6, "v2": 1.8}, "docker", "floor")
        self.ratio("exec / crun", {"v1": 0.20, "v2": 0.45}, "exec", "crun")
        for verb in ("state", "kill"):
            self.ratio(f"{verb} / crun", {"v1": 0.35, "v2": 0.35}, verb, "crun")
        self.ratio("delete / crun", {"v1": 0.35, "v2": 0.35}, "docker", "crun", step="delete")
        self.ratio("CPU of a lifecycle / crun", {"v1": 0.5, "v2": 0.5}, "docker", "crun", key="cpu")
        self.each("lifecycles per second, 4 workers / crun", {"v1": 2.0, "v2": 2.0}, self.workers, at_least=True)
        self.each(f"CPU of a lifecycle beside {MANY} running / beside none", {"v1": 1.10, "v2": 1.10}, self.growth)
        self.once("create, peak RSS, MB", 4.0, lambda results: median(results, "docker", "oarlock", "create", "rss"))
        self.once("created init, anonymous MB", 0.6, lambda results: self.footprint(results, "init anonymous MB"))
        for verb, most in (("create", 450), ("start", 90), ("delete", 120)):
            self.once(f"system calls of {verb}", most, lambda results, v=verb: self.footprint(results, f"{v} calls"))
        self.add("binary, MB", {"v1": 4.5}, {"v1": binary_bytes / 1e6})

    def ratio(self, name, targets, case, peer, step="total", key="wall"):
        def of(results):
            ours, theirs = (median(results, case, runtime, step, key) for runtime in ("oarlock", peer))
            return ours / theirs if ours and theirs else None

        self.each(name, targets, of)

    @staticmethod
    def footprint(results, what):
        return results.get("footprint", {}).get("oarlock", {}).get(what)

    @staticmethod
    def workers(results):
        found = results["containers per second by workers"]
        return found["oarlock"]["4"] / found["crun"]["4"] if "crun" in found else None

    @staticmethod
    def growth(results):
        found = results["beside running containers"]["oarlock"]
        if MANY not in found:
            return None
        return found[MANY]["total"]["cpu"]["p50"] / found["0"]["total"]["cpu"]["p50"]

    def once(self, name, target, of):
        """A target for cgroup v1, where most system calls are made."""
        self.each(name, {"v1": target}, of)

    def each(self, name, targets, of, at_least=False):
        self.add(name, targets, {view: of(results) for view, results in self.views.items()}, at_least)

    def add(self, name, targets, found, at_least=False):
        cells = [name]
        for view in VIEWS:
            value, target = found.get(view), targets.get(view)
            if target is None:
                cells.append("")
            elif value is None:
                cells.append(f"not measured ({'≥' if at_least else '≤'} {target:g})")
            else:
                met = value >= target if at_least else value <= target
                shown = f"{value:.0f}" if target >= 50 else f"{value:.2f}"
                if not met and round(value, 1) == target:
                    shown = f"{value:.3f}"  # or it looks as if it were
                cells.append(f"{shown if met else f'**{shown}**'} ({'≥' if at_least else '≤'} {target:g})")
        self.rows.append(cells)
