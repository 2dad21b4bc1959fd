"""symbols.py PROGRAM LINES: the names of the functions that the lines lie in, in the order of the lines."""

import bisect
import subprocess
import sys

program, lines = sys.argv[1:]
table = []
for row in subprocess.check_output(["nm", "-S", "--defined-only", program], text=True).splitlines():
    fields = row.split()
    if len(fields) == 4 and fields[2] in "tTwWi":
        table.append((int(fields[0], 16), int(fields[1], 16), fields[3]))
table.sort()
begins = [at for at, _, _ in table]

names = {}
with open(lines) as met:
    for at in (int(line, 16) for line in met):
        # Symbols can lie within others: the nearest that is long enough.
        for begin, size, name in reversed(table[max(0, bisect.bisect_right(begins, at) - 8) : bisect.bisect_right(begins, at)]):
            if at < begin + size:
                names.setdefault(name)
                break
print("\n".join(names))
