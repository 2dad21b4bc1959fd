"""From what the driver measured to bench.json, tables in Markdown on stdout, and a chart."""

import datetime
import json
import os
import platform
import subprocess
import sys

from targets import Targets, median

PEERS = ["floor", "crun", "runc"]


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def number(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def ratio(value, of):
    return "" if not value or not of else f"{value / of:.2f}"


def times(results, runtimes):
    rows = []
    for case in ("docker", "minimal"):
        for step in ("create", "start", "delete", "total"):
            rows.append((f"{case} {step}", case, step, "wall"))
        rows.append((f"{case} CPU", case, "total", "cpu"))
    for case in ("state", "kill", "exec", "run"):
        rows.append((case, case, "total", "wall"))
    rows += [(case, case, "total", "wall") for case in ("500 binds", "user namespace", "cold seccomp cache")]
    out = []
    for label, case, step, key in rows:
        ours = median(results, case, "oarlock", step, key)
        cells = [label]
        for runtime in runtimes:
            found = results.get(case, {}).get(runtime, {}).get(step, {}).get(key)
            cells.append(f"{found['p50']:.2f} ({found['p95']:.1f})" if found else "")
        cells += [ratio(ours, median(results, case, peer, step, key)) for peer in PEERS]
        out.append(cells)
    table(["ms, median (95 %)", *runtimes, *(f"ours / {peer}" for peer in PEERS)], out)


def others(results, runtimes):
    rows = []
    for runtime in runtimes:
        create = median(results, "docker", runtime, "create", "rss")
        mine = results["footprint"].get(runtime, {})
        if mine:
            counts = [str(mine.get(f"{verb} calls", "")) for verb in ("create", "start", "delete", "state", "kill", "exec")]
            rows.append([runtime, number(create), number(mine["init private MB"]), number(mine["init anonymous MB"]), *counts])
    head = ["runtime", "create, peak RSS MB", "created init, private MB", "anonymous MB"]
    table(head + [f"calls of {verb}" for verb in ("create", "start", "delete", "state", "kill", "exec")], rows)

    found = results["containers per second by workers"]
    counts = list(next(iter(found.values())))
    table(["lifecycles per second, workers", *counts], [[name, *(number(v[c], 0) for c in counts)] for name, v in found.items()])

    found = results["beside running containers"]
    levels = list(next(iter(found.values())))
    rows = []
    for name, by_level in found.items():
        cpu = [by_level[level]["total"]["cpu"]["p50"] for level in levels]
        rows.append([name, *(number(value) for value in cpu), ratio(cpu[-1], cpu[0])])
    table(["CPU ms per lifecycle beside", *levels, "last / first"], rows)


def chart(views, output):
    """A lifecycle's parts, per runtime and view."""
    lines = []
    for view, results in views.items():
        for runtime in ("floor", "oarlock", "crun", "runc"):
            steps = [median(results, "docker", runtime, step) for step in ("create", "start", "delete", "total")]
            if all(steps):
                lines.append(f'"{runtime} ({view})" ' + " ".join(f"{value:.3f}" for value in steps))
        lines.append('"" 0 0 0 0')
    script = f"""
set terminal svg size 860,420 font "sans-serif,13" background "white"
set output "{output}"
set style data histograms
set style histogram rowstacked
set style fill solid 0.85 border -1
set boxwidth 0.7
set ylabel "milliseconds, median"
set title "Lifecycle of a container as Docker asks for it"
set grid ytics
set xtics rotate by -35
set key top left
$data << EOD
{chr(10).join(lines)}
EOD
plot $data using 2:xtic(1) title "create" linecolor rgb "#1f77b4", "" using 3 title "start" linecolor rgb "#ff7f0e", \\
     "" using 4 title "delete" linecolor rgb "#2ca02c"
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def version(path):
    try:
        out = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    lines = out.splitlines()
    # Ours begins as runc's does, for those who look for that.
    return next((line for line in lines if line.startswith("oarlock")), lines[0] if lines else "")


def main():
    work, output, *runtimes = sys.argv[1:]
    views = {}
    for view in ("v1", "v2"):
        path = os.path.join(work, f"{view}.json")
        if os.path.exists(path):
            with open(path) as file:
                views[view] = json.load(file)
    versions = {name: version(path) for name, path in (runtime.split("=", 1) for runtime in runtimes)}
    ours = dict(runtime.split("=", 1) for runtime in runtimes)["oarlock"]
    document = {
        "machine": {"kernel": ".".join(platform.release().split(".")[:2]), "processors": os.cpu_count()},
        "date": datetime.date.today().isoformat(),
        "runtimes": versions,
        "binary bytes": os.path.getsize(ours),
        "units": {"wall": "ms", "cpu": "ms", "rss": "MB"},
        "views": views,
    }
    with open(os.path.join(output, "bench.json"), "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    for view, results in views.items():
        print(f"## cgroup {view}\n")
        times(results, [name for name in versions if name in results["docker"]])
        others(results, versions)
    print(f"oarlock: {document['binary bytes']} bytes\n\n## Targets\n")
    table(["measure (target); bold: missed", "v1", "v2"], Targets(views, document["binary bytes"]).rows)
    chart(views, os.path.join(output, "bench.svg"))


if __name__ == "__main__":
    main()
