#!/usr/bin/env python3
"""How long `pipeline check` takes on files that mean harm, and in how much memory.

    cargo build --release --locked
    PIPELINE_HOSTILE=/tmp/hostile cargo test --locked --test main -- hostile
    python3 benches/hostile.py /tmp/hostile [target/release/pipeline]

Prints the slowest and the largest, and fails above 50 ms or 64 MB more than an empty file takes.
"""

import os
import pathlib
import subprocess
import sys
import time

MOST_SECONDS, MOST_BYTES = 0.050, 64 << 20


def check(binary, file):
    started = time.perf_counter()
    child = subprocess.Popen(
        [binary, "check", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - started, usage.ru_maxrss * 1024, child.returncode


def main():
    folder = pathlib.Path(sys.argv[1])
    binary = sys.argv[2] if len(sys.argv) > 2 else "target/release/pipeline"
    rows = []
    for file in sorted(folder.glob("*.yaml")):
        runs = [check(binary, file) for _ in range(5)]
        seconds, size, code = min(runs)[0], max(run[1] for run in runs), runs[0][2]
        rows.append((seconds, size, code, file.name))
    for title, key in [("slowest", 0), ("largest", 1)]:
        print(title)
        for row in sorted(rows, key=lambda row: -row[key])[:5]:
            print(f"  {row[0] * 1000:7.1f} ms  {row[1] / 1e6:7.1f} MB  exit {row[2]}  {row[3]}")
    bad = [r for r in rows if r[0] > MOST_SECONDS or r[1] > MOST_BYTES or r[2] != 2]
    print(f"{len(rows)} files, {len(bad)} of them above 50 ms or 64 MB or not refused")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
