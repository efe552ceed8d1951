#!/usr/bin/env python3
"""Our binary beside other engines on the same jobs over the whole register, in turn in one go.

    cargo build --release --locked
    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r benches/requirements.txt
    /tmp/bench/bin/python benches/compare.py [--rows 5689367] [--runs 5] [--jobs parquet,sqlite]

Every run is a process of its own, with a warm page cache. The results of each engine must hold the
same company numbers as ours, or the harness stops. Prints Markdown tables for docs/benchmarks.md:
median seconds, how many times ours that is, and peak memory; limits of the machine below. Needs
some 8 GB in the folder and, for the sqlite3 and unzip rows, Debian's `sqlite3` and `unzip`.
"""

import argparse
import hashlib
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PIPELINE = pathlib.Path(os.environ.get("PIPELINE", ROOT / "target/release/pipeline"))
STATUS = "Active - Proposal to Strike off"


def columns():
    """Returns header and type of each column of the register, from our table schema."""
    text = (ROOT / "schemas/basic_company_data.yaml").read_text()
    line = re.compile(r"- \{ name: \w+, header: \"?([^,}\"]+?)\"?(?:, type: (\w+))?(?:,.*)? \}")
    return [(header.strip(), kind or "string") for header, kind in line.findall(text)]


# --- The engines: each function is the whole program of a process. `file` may be `-`. -----------

def to_sqlite(path, batches):
    """Writes Arrow batches into a table, the fastest way that Python has."""
    import sqlite3
    database = sqlite3.connect(path)
    database.executescript("pragma journal_mode=off; pragma synchronous=off")
    for number, batch in enumerate(batches):
        names = batch.schema.names
        if number == 0:
            listed = ", ".join(f'"{name.strip()}" text' for name in names)
            database.execute(f"create table rows ({listed})")
        marks = ", ".join("?" * len(names))
        rows = zip(*(column.to_pylist() for column in batch.columns))
        database.executemany(f"insert into rows values ({marks})", rows)
    database.commit()


def duckdb(job, file, out):
    import duckdb as engine
    db = engine.connect()
    db.execute("set threads = 2")
    file = "/dev/stdin" if file == "-" else file
    if job == "typed":
        kinds = {"string": "varchar", "int": "bigint", "date": "date"}
        types = "{" + ", ".join(f"'{h}': '{kinds[k]}'" for h, k in columns()) + "}"
        # DuckDB keeps the spaces before fourteen of the names: columns are given by place.
        read = (f"read_csv('{file}', header=false, skip=1, columns={types}, "
                "dateformat='%d/%m/%Y', quote='\"', escape='\"')")
        db.execute(f"copy (select * from {read}) to '{out}' (format parquet, compression zstd)")
        return
    read = f"read_csv('{file}', header=true, all_varchar=true, quote='\"', escape='\"')"
    query = f"select * from {read} where CompanyStatus = '{STATUS}'"
    if job == "count":
        pathlib.Path(out).write_text(str(db.execute(query.replace("*", "count(*)", 1)).fetchone()))
    elif job == "sqlite":
        to_sqlite(out, db.execute(query).to_arrow_reader(65536))
    else:
        db.execute(f"copy ({query}) to '{out}' (format parquet, compression zstd)")


def polars(job, file, out):
    import polars as pl
    if job == "typed":
        kinds = {"string": pl.String, "int": pl.Int64, "date": pl.String}
        names = [header for header, _ in columns()]
        # By place: the header has spaces before fourteen of the names.
        schema = {header: kinds[kind] for header, kind in columns()}
        rows = pl.scan_csv(file, schema=schema, has_header=False, skip_rows=1)
        dates = [header for header, kind in columns() if kind == "date"]
        rows = rows.with_columns(pl.col(dates).str.to_date("%d/%m/%Y", strict=False)).select(names)
        rows.sink_parquet(out, compression="zstd", compression_level=1)
        return
    source = sys.stdin.buffer if file == "-" else file
    rows = pl.scan_csv(source, infer_schema=False).filter(pl.col("CompanyStatus") == STATUS)
    if job == "count":
        pathlib.Path(out).write_text(str(rows.select(pl.len()).collect(engine="streaming").item()))
    elif job == "sqlite":
        to_sqlite(out, rows.collect(engine="streaming").to_arrow().to_batches(65536))
    else:
        rows.sink_parquet(out, compression="zstd", compression_level=1)


def datafusion(job, file, out):
    import datafusion as engine
    import pyarrow as pa
    kinds = {"string": pa.string(), "int": pa.int64(), "date": pa.string()}
    typed = job == "typed"
    schema = pa.schema([(h, kinds[k] if typed else pa.string()) for h, k in columns()])
    session = engine.SessionContext(engine.SessionConfig().with_target_partitions(2))
    session.register_csv("register", file, schema=schema, has_header=True)
    if typed:
        dates = ", ".join(f"to_date(\"{h}\", '%d/%m/%Y') as \"{h}\"" if k == "date" else f'"{h}"'
                          for h, k in columns())
        rows = session.sql(f"select {dates} from register")
    else:
        what = "count(*) as n" if job == "count" else "*"
        rows = session.sql(f"select {what} from register where \"CompanyStatus\" = '{STATUS}'")
    if job == "count":
        pathlib.Path(out).write_text(str(rows.to_pylist()))
    elif job == "sqlite":
        to_sqlite(out, (batch.to_pyarrow() for batch in rows.execute_stream()))
    else:
        rows.write_parquet(out, compression="zstd", compression_level=1)


def clickhouse(job, file, out):
    import chdb
    types = ", ".join(f"`{h}` String" for h, _ in columns())
    if job == "typed":
        kinds = {"string": "String", "int": "Nullable(Int64)", "date": "String"}
        types = ", ".join(f"`{h}` {kinds[k]}" for h, k in columns())
        what = ", ".join(f"toDate32(parseDateTimeOrNull(`{h}`, '%d/%m/%Y')) as `{h}`"
                         if k == "date" else f"`{h}`" for h, k in columns())
        where = ""
    else:
        what, where = "*", f"where CompanyStatus = '{STATUS}'"
    settings = ("settings max_threads=2, input_format_csv_skip_first_lines=1, "
                "output_format_parquet_compression_method='zstd', engine_file_truncate_on_insert=1")
    source = f"file('{file}', 'CSV', '{types}')"
    if job == "count":
        said = chdb.query(f"select count() from {source} {where} {settings}", "CSV")
        pathlib.Path(out).write_text(str(said))
    elif job == "sqlite":
        import pyarrow as pa
        said = chdb.query(f"select {what} from {source} {where} {settings}", "ArrowStream")
        to_sqlite(out, pa.ipc.open_stream(pa.BufferReader(said.bytes())))
    else:
        chdb.query(f"insert into function file('{out}', 'Parquet') "
                   f"select {what} from {source} {where} {settings}")


def pandas(job, file, out):
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    source = sys.stdin.buffer if file == "-" else file
    chunks = pd.read_csv(source, dtype=str, keep_default_na=False, chunksize=200_000)
    wanted = (chunk[chunk["CompanyStatus"] == STATUS] for chunk in chunks)
    batches = (pa.RecordBatch.from_pandas(chunk, preserve_index=False) for chunk in wanted)
    if job == "sqlite":
        to_sqlite(out, batches)
        return
    first = next(batches)
    with pq.ParquetWriter(out, first.schema, compression="zstd") as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


ENGINES = {function.__name__: function for function in (duckdb, polars, datafusion, clickhouse, pandas)}

# The job, its pipeline, what it reads, and who else can do it.
JOBS = {
    "parquet": ("CSV to filtered Parquet", "text.yaml", "csv",
                ["duckdb", "polars", "datafusion", "clickhouse", "pandas"]),
    "sqlite": ("CSV to filtered SQLite", "sqlite.yaml", "csv",
               ["duckdb", "polars", "datafusion", "clickhouse", "sqlite3"]),
    "zip": ("zip to filtered Parquet (the others behind `unzip -p`)", "text.yaml", "zip",
            ["duckdb", "polars"]),
    "count": ("count of matching records", "count.yaml", "csv",
              ["duckdb", "polars", "datafusion", "clickhouse"]),
    "typed": ("all rows, all columns typed, to Parquet", "typed.yaml", "csv",
              ["duckdb", "polars", "datafusion", "clickhouse"]),
}


def measured(command, shell=False):
    """Runs a command; returns seconds and the peak megabytes of its largest process."""
    before = time.monotonic()
    child = subprocess.Popen(command, shell=shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command} failed:\n{said.decode(errors='replace')}")
    return time.monotonic() - before, usage.ru_maxrss / 1024


def run(engine, job, files, folder):
    """Runs a job by an engine into a fresh output; returns seconds, peak megabytes, the output."""
    _, pipeline, kind, _ = JOBS[job]
    shutil.rmtree(folder / "run", ignore_errors=True)
    (folder / "run").mkdir()
    out = folder / "run/out"
    if engine == "pipeline":
        shutil.copy(ROOT / "benches/compare" / pipeline, folder / "run/job.yaml")
        command = [PIPELINE, "run", "--quiet", folder / "run/job.yaml",
                   "--var", f"file={files[kind]}", "--var", f"out={out}"]
        return *measured(command), out
    if engine == "sqlite3":
        script = folder / "run/script"
        script.write_text(f".mode csv\n.import {files[kind]} register\ncreate table rows as select * "
                          f"from register where CompanyStatus = '{STATUS}';\ndrop table register;\n")
        return *measured(f"sqlite3 {out} < {script}", shell=True), out
    this = f"{sys.executable} {__file__} --engine {engine} --out {out}"
    if kind == "zip":
        # The peak is that of the shell's children.
        return *measured(f"unzip -p {files['zip']} | {this} --job parquet --file -", shell=True), out
    return *measured(f"exec {this} --job {job} --file {files[kind]}", shell=True), out


def check(job, out):
    """Returns what a result holds: how many rows, and a hash of their company numbers."""
    import duckdb as engine
    if job == "count":
        return re.findall(r"\d+", out.read_text())[-1]
    if job == "sqlite":
        import sqlite3
        database = sqlite3.connect(out)
        names = [row[1] for row in database.execute("pragma table_info(rows)")]
        name = next(n for n in names if n.strip().lower().replace("_", "") == "companynumber")
        numbers = [row[0] for row in database.execute(f'select "{name}" from rows')]
    else:
        path = f"{out}/*.parquet" if out.is_dir() else str(out)
        rows = f"read_parquet('{path}')"
        names = [row[0] for row in engine.sql(f"describe select * from {rows}").fetchall()]
        name = next(n for n in names if n.strip().lower().replace("_", "") == "companynumber")
        numbers = engine.sql(f'select "{name}"::varchar from {rows}').fetchall()
        numbers = [row[0] for row in numbers]
    digest = hashlib.sha256("\n".join(sorted(numbers)).encode()).hexdigest()
    return f"{len(numbers)} rows, {digest[:12]}"


def checked(job, out):
    """Checks in a process of its own: a child's peak begins with the memory of its parent."""
    command = [sys.executable, __file__, "--check", job, "--out", out]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def limits(files, runs):
    """Measures what the machine allows."""
    csv, packed = files["csv"], files["zip"]
    commands = {
        "`cat >/dev/null`": f"cat {csv} > /dev/null",
        "`wc -l`": f"wc -l {csv}",
        "`grep -c` (C locale)": f"LC_ALL=C grep -c 'Proposal to Strike off' {csv}",
        "`unzip -p >/dev/null`": f"unzip -p {packed} > /dev/null",
    }
    print("\n| limit | seconds | GB/s of CSV |\n|---|---|---|")

    def show(name, times):
        median = statistics.median(times)
        speed = csv.stat().st_size / median / 1e9
        print(f"| {name} | {median:.2f} | {speed:.2f} |", flush=True)

    for name, command in commands.items():
        times = [measured(command, shell=True)[0] for _ in range(runs)]
        show(name, times)
    inflate = ["cargo", "bench", "--locked", "--quiet", "--bench", "inflate", "--", packed]
    said = [subprocess.run(inflate, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            for _ in range(runs)]
    show("inflate the zip member alone, with our inflater", [float(s.split()[0]) for s in said])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_689_367)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--only", help="these engines beside ours")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/pipeline-bench"))
    for inner in ("--engine", "--check", "--job", "--file", "--out"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        return ENGINES[options.engine](options.job, options.file, options.out)
    if options.check:
        return print(check(options.check, pathlib.Path(options.out)))

    options.folder.mkdir(parents=True, exist_ok=True)
    stem = options.folder / f"BasicCompanyDataAsOneFile-{options.rows}-sound-2026-11-01"
    files = {kind: stem.with_suffix(f".{kind}") for kind in ("csv", "zip")}
    for file in files.values():
        if not file.exists():
            measured([PIPELINE, "sandbox", "snapshot", "--rows", str(options.rows), "--out", file])
    subprocess.run(f"cat {files['csv']} {files['zip']} > /dev/null", shell=True, check=True)
    for job in options.jobs.split(","):
        title, _, _, others = JOBS[job]
        wanted = options.only.split(",") if options.only is not None else others
        engines = ["pipeline"] + [engine for engine in others if engine in wanted]
        times, peaks, expected = {}, {}, None
        for round_ in range(options.runs):
            for engine in engines:
                seconds, peak, out = run(engine, job, files, options.folder)
                times.setdefault(engine, []).append(seconds)
                peaks[engine] = max(peaks.get(engine, 0), peak)
                if round_ == 0:
                    result = checked(job, out)
                    expected = expected or result
                    if result != expected:
                        sys.exit(f"{engine} found {result}, pipeline {expected}")
        ours = statistics.median(times["pipeline"])
        print(f"\n**{title}** ({expected})\n\n| engine | seconds | times ours | peak MB |\n|---|---|---|---|")
        for engine in engines:
            median = statistics.median(times[engine])
            print(f"| {engine} | {median:.2f} | {median / ours:.1f} | {peaks[engine]:.0f} |", flush=True)
    limits(files, options.runs)


if __name__ == "__main__":
    main()
