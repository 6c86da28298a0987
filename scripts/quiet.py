#!/usr/bin/env python3
"""Ordinary images under real Falco with the whole pack: what Drift reports of them should be next to nothing.

    scripts/quiet.py [NAME...]

Builds tests/quiet/NAME/Dockerfile, plays tests/quiet/NAME/play.sh (start, probes, reload, restart, an
ordinary time) and prints a table. Fails where an alert of Drift is WARNING or above, or where there are more
than 30 NOTICEs. With QUIET_SECONDS=3600 each play takes an hour.

FALCO_BIN       Falco; without it nothing is played, and a skip is printed
DRIFT_SO        the plugin (target/release/libdrift.so)
QUIET_BASE      the base image, any Debian 12 (debian:bookworm-slim)
QUIET_BUILD     more options of `podman build`, such as a volume with certificates
QUIET_SECONDS   the ordinary time, in seconds (120)
QUIET_JOBS      how many play at a time (4)
QUIET_DETAIL    a file for all alerts
UPDATE_DOCS=1   writes the table into docs/false-positives.md
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ROOT / "tests" / "quiet"
PRIORITIES = ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"]
LOUD = PRIORITIES.index("Warning")
MOST_NOTICES = 30
BEGIN, END = "<!-- make quiet -->\n", "<!-- /make quiet -->\n"
# A play that another image's folder holds, with a setting: (folder, variable, value).
VARIANTS = {"postgres-volume": ("postgres", "DATA", "volume"), "jupyter-root": ("jupyter", "AS", "root")}

READY_RULE = """
- rule: Quiet ready
  desc: The probe and the rules work.
  condition: evt.type = execve and proc.args contains "quiet-ready-"
  output: ready %proc.args
  priority: INFO
"""


def names():
    folders = [path.parent.name for path in IMAGES.glob("*/play.sh")]
    return sorted(folders + list(VARIANTS))


def build(folder):
    base = os.environ.get("QUIET_BASE", "debian:bookworm-slim")
    command = ["podman", "build", "-q", "--build-arg", f"BASE={base}", "-t", f"localhost/quiet-{folder}:1"]
    command += os.environ.get("QUIET_BUILD", "").split()
    built = subprocess.run([*command, IMAGES / folder], capture_output=True, text=True)
    if built.returncode:
        sys.exit(f"quiet: the image {folder} could not be built:\n{(built.stdout + built.stderr)[-3000:]}")


class Falco:
    """A Falco with the pack as shipped, and its alerts."""

    def __init__(self, binary, work):
        self.output, self.log = work / "alerts.jsonl", work / "falco.log"
        library = work / "libdrift.so"
        shutil.copy(os.environ.get("DRIFT_SO", ROOT / "target/release/libdrift.so"), library)
        ready = work / "ready.yaml"
        ready.write_text(READY_RULE)
        rules = [str(ROOT / "rules" / name) for name in ("drift_rules.yaml", "drift_source_rules.yaml")]
        # The source compares every half a minute instead of every five: what it finds is the same.
        configuration = {
            "engine": {"kind": "modern_ebpf",
                       "modern_ebpf": {"cpus_for_each_buffer": 1, "buf_size_preset": 6}},
            "rules_files": [*rules, str(ready)],
            "plugins": [{"name": "drift", "library_path": str(library),
                         "open_params": '{"interval_seconds": 30}'}],
            "load_plugins": ["drift"], "config_files": [], "watch_config_files": False, "priority": "debug",
            "json_output": True, "stdout_output": {"enabled": False}, "syslog_output": {"enabled": False},
            "file_output": {"enabled": True, "keep_alive": True, "filename": str(self.output)},
            "webserver": {"enabled": False}, "log_stderr": True, "log_syslog": False,
            "buffered_outputs": False,
        }
        (work / "falco.yaml").write_text(json.dumps(configuration))
        self.output.touch()
        self.process = subprocess.Popen([binary, "-c", work / "falco.yaml"], stdout=self.log.open("w"),
                                        stderr=subprocess.STDOUT)

    def wait(self):
        token = f"quiet-ready-{os.getpid()}"
        for _ in range(600):
            if self.process.poll() is not None:
                break
            subprocess.run(["/bin/true", token])
            is_open = "Opening 'drift' source" in self.log.read_text()
            if is_open and token in self.output.read_text(errors="replace"):
                return
            time.sleep(0.2)
        self.stop()
        sys.exit(f"quiet: Falco did not become ready:\n{self.log.read_text()[-3000:]}")

    def alerts(self):
        """Drift's alerts, by the id of the container."""
        found = collections.defaultdict(list)
        for line in self.output.read_text(errors="replace").splitlines():
            alert = json.loads(line)
            fields = alert.get("output_fields") or {}
            container = fields.get("drift.container_id") or fields.get("drift.event.container_id")
            if container and alert["rule"].startswith("Drift"):
                found[container].append(alert)
        return found

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def play(name, work):
    folder, variable, value = VARIANTS.get(name, (name, "QUIET_VARIANT", ""))
    ids = work / f"{name}.ids"
    (work / name).mkdir()
    environment = dict(os.environ, NAME=f"quiet-{os.getpid()}-{name}", IMAGE=f"localhost/quiet-{folder}:1",
                       IDS=str(ids), FOLDER=str(IMAGES / folder), WORK=str(work / name),
                       SECONDS_STEADY=os.environ.get("QUIET_SECONDS", "120"), **{variable: value})
    script = f'. "{IMAGES}/lib.sh"; . "{IMAGES}/{folder}/play.sh"'
    with (work / f"{name}.said").open("w") as said:
        status = subprocess.run(["bash", "-c", script], env=environment, stdout=said,
                                stderr=subprocess.STDOUT).returncode
    return {"name": name, "ok": status == 0, "ids": ids.read_text().split() if ids.exists() else [],
            "said": (work / f"{name}.said").read_text()}


def what(alert):
    fields = alert.get("output_fields") or {}
    for key in ("drift.event.path", "drift.script_path", "drift.file_path", "drift.event.port", "drift.port",
                "drift.env_risky", "proc.exepath"):
        if fields.get(key) not in (None, ""):
            return str(fields[key])
    return ""


def row(result, alerts):
    mine = [alert for container in result["ids"] for alert in alerts.get(container, [])]
    loud = [alert for alert in mine if PRIORITIES.index(alert["priority"]) <= LOUD]
    notices = [alert for alert in mine if alert["priority"] == "Notice"]
    return {"name": result["name"], "mine": mine, "loud": loud, "notices": len(notices),
            "bad": bool(loud) or len(notices) > MOST_NOTICES or not result["ok"]}


def report(results, alerts):
    rows, details = [], []
    for result in results:
        line = row(result, alerts)
        rows.append(line)
        failed = "" if result["ok"] else "  FAILED: " + result["said"][-1500:]
        print(f"{line['name']:16} WARNING+ {len(line['loud']):3}  NOTICE {line['notices']:4}{failed}")
        shown = LOUD + (line["notices"] > MOST_NOTICES)
        counted = collections.Counter((a["priority"], a["rule"], what(a)) for a in line["mine"]
                                      if PRIORITIES.index(a["priority"]) <= shown)
        for (priority, rule, thing), count in counted.most_common(12):
            print(f"    {priority} {rule}: {thing}" + (f" x{count}" if count > 1 else ""))
        details += [f"== {line['name']} {' '.join(result['ids'])}\n-- {result['said']}\n"]
        details += [f"{a['time']} {a['priority']} {a['rule']}: {a['output']}\n" for a in line["mine"]]
    if os.environ.get("QUIET_DETAIL"):
        pathlib.Path(os.environ["QUIET_DETAIL"]).write_text("".join(details))
    return rows


def update_docs(rows):
    path = ROOT / "docs" / "false-positives.md"
    text = path.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    table = "| image | WARNING and above | NOTICE |\n|---|---|---|\n"
    for line in rows:
        table += f"| {line['name']} | {len(line['loud'])} | {line['notices']} |\n"
    path.write_text(before + BEGIN + table + END + after)


def main():
    chosen = sys.argv[1:] or names()
    unknown = set(chosen) - set(names())
    if unknown:
        sys.exit(f"quiet: no such image: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    binary = os.environ.get("FALCO_BIN") or shutil.which("falco")
    if not binary:
        print("SKIP: quiet images: no Falco (FALCO_BIN, or falco in PATH)")
        return
    folders = {VARIANTS.get(name, (name,))[0] for name in chosen}
    for folder in sorted(folders | ({"mariadb"} if "wordpress" in folders else set())):
        build(folder)
    with tempfile.TemporaryDirectory(prefix="drift-quiet-") as folder:
        work = pathlib.Path(folder)
        falco = Falco(binary, work)
        try:
            falco.wait()
            with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("QUIET_JOBS", "4"))) as pool:
                results = list(pool.map(lambda name: play(name, work), chosen))
            time.sleep(5)
            rows = report(results, falco.alerts())
        finally:
            falco.stop()
    if os.environ.get("UPDATE_DOCS"):
        update_docs(rows)
    bad = [line["name"] for line in rows if line["bad"]]
    print(f"{len(rows) - len(bad)} of {len(rows)} images are quiet{'; not: ' if bad else ''}{', '.join(bad)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
