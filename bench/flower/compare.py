"""fedglm's aggregator against Flower's SuperLink, alternately: rounds a minute, the server's CPU and memory.

Flower runs without TLS, fedglm with mutual TLS. Sites train nothing: each sends as many values as it was sent.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

APP = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 1800  # seconds for a run


class Tree:
    """A process and all that it started: CPU until now, and the most memory that they had together."""

    def __init__(self, pid):
        self.pid, self.cpu, self.peak, self.stopping = pid, {}, 0, False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.stopping:
            self.look()
            time.sleep(0.05)

    def look(self):
        processes = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                values = stat.read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            ticks, rss = int(values[11]) + int(values[12]), int(values[21]) * PAGE
            processes[int(stat.parent.name)] = (int(values[1]), ticks / TICKS, rss)
        ours, resident = {self.pid}, 0
        grew = True
        while grew:
            more = {pid for pid, (parent, _, _) in processes.items() if parent in ours} - ours
            ours |= more
            grew = bool(more)
        for pid in ours & processes.keys():
            self.cpu[pid] = processes[pid][1]
            resident += processes[pid][2]
        self.peak = max(self.peak, resident)

    def stop(self):
        self.look()
        self.stopping = True
        self.thread.join()


def run_flower(options, sites):
    folder = Path(tempfile.mkdtemp(prefix="fedglm-flower."))
    environment = dict(os.environ, FLWR_HOME=str(folder / "home"), FLWR_TELEMETRY_ENABLED="0", PYTHONUNBUFFERED="1")
    environment["PATH"] = f"{options.flower}:{environment['PATH']}"
    (folder / "home").mkdir()
    address = f"127.0.0.1:{options.port}"
    config = f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "{address}"\ninsecure = true\n'
    (folder / "home/config.toml").write_text(config)
    app = shutil.copytree(APP, folder / "app", ignore=shutil.ignore_patterns("compare.py", "__pycache__"))
    processes = []

    def start(program, *arguments):
        log = open(folder / f"{program}-{len(processes)}.log", "wb")
        command = [f"{options.flower}/{program}", *arguments]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        )
        return processes[-1]

    try:
        link = start(
            "flower-superlink", "--insecure", "--port", str(options.port), "--disable-runtime-dependency-installation"
        )
        time.sleep(10)
        tree = Tree(link.pid)
        try:
            for site in range(sites):
                port = str(options.port + 1 + site)
                start("flower-supernode", "--insecure", "--superlink", address, "--port", port)
            times = folder / "times.json"
            settings = f"rounds={options.rounds} sites={sites} values={options.values} times='{times}'"
            command = [f"{options.flower}/flwr", "run", str(app), "bench", "--stream", "--run-config", settings]
            with open(folder / "run.log", "wb") as log:
                subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=PATIENCE, check=True)
            deadline = time.monotonic() + 30
            while not times.exists() and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            tree.stop()
        # The first round waits for the sites.
        seconds = statistics.median(json.loads(times.read_text())[1:])
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"compare-flower: Flower did not finish: {error}; its logs are in {folder}")
    finally:
        for process in reversed(processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    shutil.rmtree(folder)
    return {"per_minute": 60 / seconds, "cpu_seconds": sum(tree.cpu.values()), "rss_mib": tree.peak / (1 << 20)}


def run_ours(options, sites):
    command = [options.ours, "--sites", str(sites), "--rounds", str(options.rounds), "--questions", "1", "--json"]
    command += ["--update-values", str(options.values)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=True)
    run = json.loads(done.stdout)["runs"][0]
    cpu = run["site_round_cpu_ms"] / 1000 * sites * options.rounds
    return {"per_minute": 60 / run["round_seconds"], "cpu_seconds": cpu, "rss_mib": run["peak_rss_mib"]}


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main():
    parser = argparse.ArgumentParser(prog="compare-flower", description=__doc__)
    parser.add_argument("--flower", required=True, help="the folder of Flower's programs")
    parser.add_argument("--ours", required=True, help="the program simulate-sites")
    parser.add_argument("--sites", default="6,20", help="how many, one comparison each")
    parser.add_argument("--rounds", type=int, default=4, help="of a run; Flower's first one does not count")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--values", type=int, default=12800000, help="of an update, in float32: 51 MB")
    parser.add_argument("--port", type=int, default=18000, help="Flower's first; it takes one more for each site")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2")
    claims = []
    print("| sites | | fedglm | Flower | ratio | wanted |\n|---|---|---|---|---|---|")
    for sites in [int(count) for count in options.sites.split(",")]:
        theirs, ours = [], []
        for _ in range(options.repetitions):
            theirs.append(run_flower(options, sites))
            ours.append(run_ours(options, sites))
        us, them = medians(ours), medians(theirs)
        for key, name, wanted in (
            ("per_minute", "rounds a minute", "≥ 6"),
            ("cpu_seconds", f"CPU of the server, s for {options.rounds} rounds", ""),
            ("rss_mib", "peak RSS of the server, MiB", "≤ 0.55"),
        ):
            ratio = us[key] / them[key]
            print(f"| {sites} | {name} | {us[key]:.1f} | {them[key]:.1f} | {ratio:.2f} | {wanted} |", flush=True)
            claims.append({"sites": sites, "claim": key, "fedglm": us[key], "flower": them[key], "ratio": ratio})
    if options.json:
        Path(options.json).write_text(json.dumps({"version": 1, "claims": claims}, indent=2) + "\n")


if __name__ == "__main__":
    main()
