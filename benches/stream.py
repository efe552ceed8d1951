#!/usr/bin/env python3
"""How fast a stream becomes durable rows: `python3 benches/stream.py [--binary target/release/pipeline]`.

A server on this machine speaks the streaming API and sends made-up events at a rate; the pipeline
scores them like the shipped one (without look-ups) and commits each batch into SQLite and Parquet.
An event is durable when the saved position has reached it, which is looked at every 2 ms. Printed:
events per second and the time from sending to durable (median, 99th percentile) at each rate; how
fast a backlog is read with all transforms and sinks, with none (parsing alone), and how fast SQLite
alone takes the same rows in the same batches. Nothing but Python's own library is needed.
"""

import argparse
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = 1_000_001
COMPANIES = 50_000

PIPELINE = """version: 1
name: bench
state: ./state.db
sources:
  changes:
    companies_house_stream: { feed: companies, key: "${secret:KEY}", start: %(first)d, base_url: "http://127.0.0.1:%(port)d" }
    batch: { rows: %(rows)d, every: %(every)s }
transforms:
  told:
    sql: |
      select company_number, event['timepoint'] as timepoint, event['published_at'] as published_at,
             cast(event['published_at'] as date) as as_of,
             concat(cast(cast(event['published_at'] as date) as varchar), '/',
                    lpad(cast(event['timepoint'] as varchar), 12, '0')) as version,
             data['company_name'] as company_name,
             coalesce(data['company_status_detail'], data['company_status']) as status_label,
             data['date_of_creation'] as incorporation_date,
             data['accounts']['next_due'] as accounts_next_due_date,
             data['confirmation_statement']['next_due'] as conf_stmt_next_due_date,
             upper(replace(data['accounts']['last_accounts']['type'], '-', ' ')) as accounts_category,
             data['sic_codes'][1] as sic_code, coalesce(data['has_charges'], false) as has_charge,
             data['registered_office_address']['postal_code'] as post_code
      from changes
"""

FULL = PIPELINE + """
  latest:  { from: told, deduplicate: { by: [company_number], prefer: [timepoint desc] } }
  stated:  { use: shared/company_status.yaml, with: { companies: latest } }
  kinds:
    from: stated
    route: { proposals: "status_detail = 'active-proposal-to-strike-off'", otherwise: others }
  signals: { use: shared/signals.yaml, with: { companies: kinds.proposals } }
  leads:   { use: shared/scoring.yaml, with: { companies: signals } }
  no_leads: { sql: "select company_number, version from kinds.others" }
sinks:
  lead_table: { from: leads, sqlite: { table: leads }, write: upsert, key: [company_number], newer_by: version }
  gone: { from: no_leads, sqlite: { table: leads }, write: mark_gone, key: [company_number], newer_by: version }
  archive: { from: told, parquet: { path: ./changes }, write: append, compact: 1h }
"""

PARSED = PIPELINE + """
  counted: { sql: "select count(*) as n, max(version) as version from told" }
sinks:
  count: { from: counted, sqlite: { table: counted }, write: replace }
"""


def event(n):
    """An event of one of many made-up companies, a tenth of them with a proposal."""
    number = f"{90_000_000 + n * 7919 % COMPANIES:08d}"
    data = {
        "accounts": {"next_due": "2026-09-30", "last_accounts": {"type": "micro-entity", "made_up_to": "2025-12-31"},
                     "accounting_reference_date": {"day": "31", "month": "12"}},
        "can_file": True, "company_name": f"SPECIMEN {number} LTD", "company_number": number,
        "company_status": "active", "confirmation_statement": {"next_due": "2026-12-01", "next_made_up_to": "2026-11-17"},
        "date_of_creation": "2015-03-02", "etag": f"{n:040x}", "jurisdiction": "england-wales",
        "links": {"self": f"/company/{number}", "officers": f"/company/{number}/officers"},
        "registered_office_address": {"address_line_1": "1 Specimen Street", "locality": "Specimen", "postal_code": "ZZ1 1AA"},
        "sic_codes": ["10710"], "type": "ltd",
    }
    if n % 10 == 0:
        data["company_status_detail"] = "active-proposal-to-strike-off"
    return {"resource_kind": "company-profile", "resource_uri": f"/company/{number}", "resource_id": number, "data": data}


def line(n, at):
    whole = event(n) | {"event": {"timepoint": n, "published_at": at, "type": "changed"}}
    return (json.dumps(whole, separators=(",", ":")) + "\n").encode()


class Server:
    """Sends events to whoever connects: all at once, or one after the other at a rate."""

    def __init__(self, n_events, rate):
        self.n_events, self.rate, self.sent = n_events, rate, {}
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.ready = b"".join(line(FIRST + i, at) for i in range(n_events)) if rate is None else None
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        try:
            connection.recv(65536)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            if self.ready is not None:
                connection.sendall(self.ready)
            else:
                begin = time.perf_counter()
                for i in range(self.n_events):
                    wait = begin + i / self.rate - time.perf_counter()
                    if wait > 0:
                        time.sleep(wait)
                    at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                    self.sent[FIRST + i] = time.perf_counter()
                    connection.sendall(line(FIRST + i, at))
            while True:
                time.sleep(30)
                connection.sendall(b"\n")
        except OSError:
            pass


def follow(binary, template, server, rows, every):
    """Follows a server until everything is durable; returns the moments at which positions were reached."""
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "pipelines" / "shared", Path(folder) / "shared")
        values = {"first": FIRST, "port": server.port, "rows": rows, "every": every}
        Path(folder, "bench.yaml").write_text(template % values)
        process = subprocess.Popen([binary, "run", "bench.yaml", "--follow", "--quiet"], cwd=folder,
                                   env=os.environ | {"KEY": "k"})
        last, reached = FIRST + server.n_events - 1, []
        state = Path(folder, "state.db")
        begin = time.perf_counter()
        connection = None
        while not reached or reached[-1][1] < last:
            time.sleep(0.002)
            if process.poll() is not None:
                raise SystemExit(f"it ended by itself: {process.returncode}")
            try:
                connection = connection or sqlite3.connect(f"file:{state}?mode=ro", uri=True)
                row = connection.execute("select position from engine_positions where node = 'changes'").fetchone()
            except sqlite3.Error:
                connection = None
                continue
            if row and (not reached or int(row[0]) > reached[-1][1]):
                reached.append((time.perf_counter(), int(row[0])))
        process.send_signal(signal.SIGTERM)
        process.wait()
        return begin, reached


def at_rate(binary, rate, seconds, rows, every):
    server = Server(max(int(rate * seconds), 20), rate)
    _, reached = follow(binary, FULL, server, rows, every)
    delays, next_number = [], FIRST
    for moment, position in reached:
        for number in range(next_number, position + 1):
            delays.append(moment - server.sent[number])
        next_number = position + 1
    delays.sort()
    took = reached[-1][0] - server.sent[FIRST]
    return len(delays) / took, statistics.median(delays), delays[int(len(delays) * 0.99)], len(reached)


def backlog(binary, template, n_events, rows):
    server = Server(n_events, None)
    begin, reached = follow(binary, template, server, rows, "1s")
    # From the first batch on: the start of the process is not counted.
    (first, position), (last, _) = reached[0], reached[-1]
    return (FIRST + n_events - 1 - position) / (last - first)


def sqlite_alone(n_events, rows):
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder, "x.db"), isolation_level=None)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute("create table t (company_number text primary key, company_name text, status text, version text, score integer)")
        data = [(f"{90_000_000 + n * 7919 % COMPANIES:08d}", "SPECIMEN LTD", "active", f"2026-11-02/{n:012d}", n % 100)
                for n in range(n_events)]
        begin = time.perf_counter()
        for start in range(0, n_events, rows):
            db.execute("begin immediate")
            db.executemany("insert into t values (?,?,?,?,?) on conflict do update set company_name = excluded.company_name,"
                           " status = excluded.status, version = excluded.version, score = excluded.score"
                           " where excluded.version >= t.version", data[start:start + rows])
            db.execute("commit")
        return n_events / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/pipeline"))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--every", default="250ms", help="how long a batch takes events")
    parser.add_argument("--events", type=int, default=200_000, help="of the backlog")
    arguments = parser.parse_args()
    binary, rows = os.path.abspath(arguments.binary), 2_000
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    print(f"commit {commit}, {os.cpu_count()} cores, batches of {rows} events or {arguments.every}\n")
    print("| events/s sent | events/s durable | median | 99th percentile | batches |")
    print("|---:|---:|---:|---:|---:|")
    for rate in (10, 100, 1_000):
        got, median, late, n_batches = at_rate(binary, rate, arguments.seconds, rows, arguments.every)
        print(f"| {rate:,} | {got:,.1f} | {median * 1000:.0f} ms | {late * 1000:.0f} ms | {n_batches} |", flush=True)
    print(f"\nA backlog of {arguments.events:,} events, in events/s:\n")
    for name, template in (("all transforms, SQLite and Parquet", FULL), ("parsing, one row a batch", PARSED)):
        print(f"- {name}: {backlog(binary, template, arguments.events, rows):,.0f}", flush=True)
    print(f"- SQLite alone (upsert, one transaction for {rows:,} rows, synchronous = full): "
          f"{sqlite_alone(arguments.events, rows):,.0f}")


if __name__ == "__main__":
    main()
