#!/usr/bin/env python3
"""Time and peak memory of the main job on a made-up register of full size.

    cargo build --release --locked
    python3 benches/bulk.py [--rows 5689367] [--folder /tmp/pipeline-bench] [--runs 1]

Each job runs in a process of its own, with a warm page cache, and into empty outputs. Needs some
5 GB in the folder. Prints a Markdown table for docs/benchmarks.md.
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

def run(arguments):
    """Runs a command; returns seconds, peak megabytes and what it said."""
    started = time.monotonic()
    child = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{arguments} failed:\n{said}")
    return time.monotonic() - started, usage.ru_maxrss / 1024, said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_689_367)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/pipeline-bench"))
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    stem = options.folder / f"BasicCompanyDataAsOneFile-{options.rows}-2026-11-01"

    print("| job | seconds | peak MB |\n|---|---|---|")
    files = {"CSV": stem.with_suffix(".csv"), "zip": stem.with_suffix(".zip")}
    for kind, file in files.items():
        if not file.exists():
            arguments = ["sandbox", "snapshot", "--rows", str(options.rows), "--broken"]
            seconds, peak, _ = run([PIPELINE, *arguments, "--out", file])
            print(f"| make the register, {kind}, {file.stat().st_size / 1e6:.0f} MB "
                  f"| {seconds:.1f} | {peak:.0f} |", flush=True)

    jobs = {
        "strike-off leads to Parquet and SQLite": ROOT / "pipelines/strike_off_bulk.yaml",
        "all rows, all columns, to Parquet": ROOT / "examples/everything/everything.yaml",
    }
    for job, source in jobs.items():
        for kind, file in files.items():
            times, peaks = [], []
            for _ in range(options.runs):
                folder = options.folder / "run"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                shutil.copy(source, folder / "job.yaml")
                variables = ["--var", f"file={file}", "--var", f"out={folder / 'out'}"]
                seconds, peak, said = run([PIPELINE, "run", folder / "job.yaml", *variables])
                times.append(seconds)
                peaks.append(peak)
            print(f"| {job}, from {kind} | {statistics.median(times):.1f} | {max(peaks):.0f} |",
                  flush=True)
            print(said, file=sys.stderr)


if __name__ == "__main__":
    main()
