#!/usr/bin/env python3
"""How the cost of the main job grows: with the rows of the file, and with the share that a filter keeps.

    cargo build --release --locked
    python3 benches/scaling.py [--rows 711170] [--runs 5]

Registers of one, two, four and eight times the rows are filtered to Parquet; then the largest with
filters that keep from nothing to all of it, and without any. Every run is a process of its own
with a warm page cache. Prints Markdown tables for docs/benchmarks.md: median seconds, seconds per
million rows read, peak memory.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PIPELINE = pathlib.Path(os.environ.get("PIPELINE", ROOT / "target/release/pipeline"))
PROPOSAL = "company_status = 'Active - Proposal to Strike off'"
FILTERS = [
    "company_status = 'No such status'",
    PROPOSAL,
    "company_number like '%7'",
    "company_number < '08'",
    "not " + PROPOSAL,
    "company_name is not null",
    None,
]
JOB = """version: 1
name: scaling
sources:
  register: {{ csv: {{ path: {file} }} }}
{transforms}sinks:
  rows: {{ from: {name}, parquet: {{ path: ./out }}, write: replace }}
"""


def measured(command, folder):
    """Runs a command; returns seconds and peak megabytes."""
    before = time.monotonic()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command} failed:\n{said.decode(errors='replace')}")
    return time.monotonic() - before, usage.ru_maxrss / 1024, said.decode()


def job(file, condition, folder, runs):
    """Returns median seconds, peak megabytes and rows kept of a job."""
    transforms, name = "", "register"
    if condition:
        transforms, name = f"transforms:\n  kept: {{ from: register, filter: \"{condition}\" }}\n", "kept"
    times, peak = [], 0
    for _ in range(runs):
        shutil.rmtree(folder / "run", ignore_errors=True)
        (folder / "run").mkdir()
        (folder / "run/job.yaml").write_text(JOB.format(file=file, transforms=transforms, name=name))
        seconds, megabytes, said = measured([PIPELINE, "run", "job.yaml"], folder / "run")
        times.append(seconds)
        peak = max(peak, megabytes)
    line = next(line for line in said.splitlines() if " rows  " in line and "✓" in line)
    return statistics.median(times), peak, line.split("rows  ")[1].split()[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=711_170)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/pipeline-bench"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sizes = [options.rows * factor for factor in (1, 2, 4, 8)]
    files = {size: options.folder / f"BasicCompanyDataAsOneFile-{size}-sound-2026-11-01.csv" for size in sizes}
    for size, file in files.items():
        if not file.exists():
            measured([PIPELINE, "sandbox", "snapshot", "--rows", str(size), "--out", file], options.folder)
        subprocess.run(f"cat {file} > /dev/null", shell=True, check=True)
    print("| rows | seconds | seconds per million rows | peak MB |\n|---:|---:|---:|---:|")
    for size, file in files.items():
        seconds, peak, _ = job(file, PROPOSAL, options.folder, options.runs)
        print(f"| {size:,} | {seconds:.2f} | {seconds / size * 1e6:.3f} | {peak:.0f} |", flush=True)
    print("\n| filter | rows kept | seconds | peak MB |\n|---|---:|---:|---:|")
    for condition in FILTERS:
        seconds, peak, kept = job(files[sizes[-1]], condition, options.folder, options.runs)
        print(f"| `{condition or 'none'}` | {kept} | {seconds:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
