#!/usr/bin/env python3
"""What Falco with Drift says of pods on a real node. usage: cases.py DIR LIBDRIFT RULES [--update PAGE]

DIR is what provision.sh filled; the environment variable FALCO_BIN names Falco. Starts the node, the pods of pods.yaml and then
Falco in the node's namespaces, plays each act, and compares the alerts with what is expected. --update writes the table into
PAGE between its marks. Ends with the number of acts that went as expected; everything is taken down.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = os.path.join(HERE, "node.sh")
DIR, LIBRARY, RULES = (os.path.abspath(path) for path in sys.argv[1:4])
PAGE = sys.argv[5] if sys.argv[4:5] == ["--update"] else None
FALCO = os.environ["FALCO_BIN"]
ALERTS, LOG = os.path.join(DIR, "alerts.jsonl"), os.path.join(DIR, "log", "falco.log")
# Long enough for a file's last writer, a comparison and an alert on a busy machine.
PATIENCE, QUIET = 40, 12
# A copy under another name: what an intruder would bring, with no need of a network.
DROP = "cp /bin/busybox {0}/{1}; chmod 755 {0}/{1}; {0}/{1} true; true"


def node(command, *arguments, check=True, **more):
    run = subprocess.run([NODE, command, DIR, *arguments], capture_output=True, text=True, **more)
    if check and run.returncode:
        sys.exit(f"{command} {' '.join(arguments)}: {run.stdout}{run.stderr}")
    return run.stdout


def kubectl(*arguments, **more):
    return node("kubectl", *arguments, **more)


def execute(pod, script, container="app"):
    return kubectl("-n", "shop", "exec", pod, "-c", container, "--", "sh", "-c", script, check=False)


def apply(manifest):
    return kubectl("apply", "-f", "-", input=manifest)


def alerts():
    with open(ALERTS, encoding="utf-8", errors="replace") as lines:
        # The last line may be half written.
        return [json.loads(line) for line in lines if line.endswith("\n")]


def start_falco():
    config = {
        "engine": {"kind": "modern_ebpf", "modern_ebpf": {"cpus_for_each_buffer": 1, "buf_size_preset": 6}},
        "rules_files": [os.path.join(RULES, name) for name in ("drift_rules.yaml", "drift_source_rules.yaml")],
        "rule_matching": "first",
        "plugins": [{
            "name": "drift",
            "library_path": LIBRARY,
            "init_config": {"pod_annotations": ["example.com/owner"], "files": {"interval_seconds": 5}},
            "open_params": json.dumps({"interval_seconds": 20}),
        }],
        "load_plugins": ["drift"],
        "config_files": [],
        "append_output": [{"match": {"tags": ["drift"]}, "extra_fields": [
            {"k8s.pod.name": "%drift.pod_name"}, {"k8s.ns.name": "%drift.pod_namespace"},
            "drift.container_name", "drift.workload",
        ]}],
        "priority": "debug",
        "json_output": True,
        "json_include_output_fields_property": True,
        "buffered_outputs": False,
        "stdout_output": {"enabled": False},
        "syslog_output": {"enabled": False},
        "file_output": {"enabled": True, "keep_alive": True, "filename": ALERTS},
        "webserver": {"enabled": False},
        "log_stderr": True,
        "log_syslog": False,
    }
    file = os.path.join(DIR, "falco.yaml")
    with open(file, "w", encoding="utf-8") as out:
        json.dump(config, out)  # JSON is YAML.
    open(ALERTS, "w", encoding="utf-8").close()
    log = open(LOG, "w", encoding="utf-8")
    falco = subprocess.Popen([NODE, "in", DIR, FALCO, "-c", file], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    for number in range(120):
        # Ready once an act comes out as an alert.
        name = f"ready{number}"
        execute("web", DROP.format("/tmp", name))
        time.sleep(1)
        if any(f"/tmp/{name}" in alert["output"] for alert in alerts()):
            return falco
        if falco.poll() is not None:
            break
    sys.exit("Falco did not become ready: " + open(LOG, encoding="utf-8").read()[-3000:])


GONE = """
apiVersion: v1
kind: Pod
metadata: {name: gone, namespace: shop}
spec:
  nodeName: knode
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - {name: once, image: "localhost/bb:1", imagePullPolicy: Never, command: [sh, -c, "%s"]}
""" % DROP.format("/tmp", "once")


def debug():
    kubectl("-n", "shop", "debug", "web", "--image", "localhost/bb:1", "--image-pull-policy", "Never", "--target", "app",
            "--container", "debugger", "--quiet", "--", "sh", "-c", DROP.format("/tmp", "debugged") + "; sleep 30")


def copy():
    file = os.path.join(DIR, "copied.sh")
    with open(file, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\necho copied\n")
    kubectl("-n", "shop", "cp", file, "web:/opt/copied.sh", "-c", "app", check=False)
    execute("web", "sh /opt/copied.sh")


def gone():
    apply(GONE)
    for _ in range(60):
        phase = kubectl("-n", "shop", "get", "pod", "gone", "-o", "jsonpath={.status.phase}", check=False)
        if phase in ("Succeeded", "Failed"):
            break
        time.sleep(0.2)
    kubectl("-n", "shop", "delete", "pod", "gone", "--now", check=False)


def cart():
    return kubectl("-n", "shop", "get", "pods", "-l", "app=cart", "-o", "jsonpath={.items[0].metadata.name}").strip()


def terminal():
    kubectl_command = f"{NODE} kubectl {DIR} -n shop exec -it web -c app -- sh -c 'sh -c true'"
    subprocess.run(["script", "-qec", kubectl_command, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True)


def update():
    kubectl("-n", "shop", "patch", "configmap", "scripts", "--type", "merge", "-p",
            json.dumps({"data": {"run.sh": "#!/bin/sh\necho updated\n"}}))
    for _ in range(100):
        if "updated" in execute("web", "/scripts/run.sh"):
            return
        time.sleep(0.5)


def roll():
    kubectl("-n", "shop", "rollout", "restart", "deployment/cart")
    kubectl("-n", "shop", "rollout", "status", "deployment/cart", "--timeout", "60s")


# What is done, how, the rule that alerts (None: silence), and where.
CASES = [
    ("A program is dropped and executed by `kubectl exec`", lambda: execute("web", DROP.format("/tmp", "a1")),
     "Drift binary executed", "shop/web/app"),
    ("A script is written and executed", lambda: execute("web", "mkdir -p /opt; echo 'echo x' > /opt/x.sh; sh /opt/x.sh"),
     "Drift script executed", "shop/web/app"),
    ("A script is copied in by `kubectl cp` and executed", copy, "Drift script executed", "shop/web/app"),
    ("A file of the image is changed", lambda: execute("web", "echo x:x:5:5::/:/x >> /etc/passwd"),
     "Drift image file modified", "shop/web/app"),
    ("A program is put on an emptyDir and executed", lambda: execute("web", DROP.format("/work", "a2")),
     "Drift execution from volume", "shop/web/app"),
    ("A shell with a terminal is opened by `kubectl exec -it`", terminal,
     "Drift interactive shell in container", "shop/web/app"),
    ("An ephemeral container of `kubectl debug` drops a program and executes it", debug,
     "Drift binary executed", "shop/web/debugger"),
    ("A pod of a Deployment drops a program and executes it", lambda: execute(cart(), DROP.format("/tmp", "a3")),
     "Drift binary executed", r"shop/cart-[a-z0-9-]+/app"),
    ("A sidecar drops a program and executes it", lambda: execute("mix", DROP.format("/tmp", "a4"), "proxy"),
     "Drift binary executed", "shop/mix/proxy"),
    ("A pod with `hostUsers: false` drops a program and executes it",
     lambda: execute("userns", DROP.format("/tmp", "a5")), "Drift binary executed", "shop/userns/app"),
    ("A pod drops a program, executes it, ends and is deleted", gone, "Drift binary executed", "shop/gone/once"),
    ("A script of a configMap is executed", lambda: execute("web", "/scripts/run.sh"), None, "shop/web/app"),
    ("The configMap is updated, and its script executed", update, None, "shop/web/app"),
    ("Exec probes run each second", lambda: time.sleep(3), None, "shop/web/app"),
    ("A Deployment is rolled out anew", roll, None, r"shop/cart-[a-z0-9-]+/app"),
]


def where(alert):
    return alert["output_fields"].get("drift.where") or ""


def identified(alert):
    """What an alert of a pod lacks."""
    fields, names = alert["output_fields"], where(alert).split("/")
    wanted = {"drift.where": len(names) == 3, "k8s.pod.name": names[1:2] == [fields.get("k8s.pod.name")],
              "k8s.ns.name": names[0] == fields.get("k8s.ns.name"), "drift.image": str(fields.get("drift.image")).startswith("localhost/"),
              "drift.container_name": bool(fields.get("drift.container_name")),
              "drift.workload": bool(fields.get("drift.workload"))}
    return [name for name, there in wanted.items() if not there]


def of_node(alert):
    """Whether it is of a container of the node: the probe sees the whole machine."""
    log = open(os.path.join(DIR, "log", "containerd.log"), encoding="utf-8", errors="replace").read()
    return alert["output_fields"]["drift.container_id"] in log


def play(what, act, rule, place):
    seen = len(alerts())
    act()
    end = time.time() + (PATIENCE if rule else QUIET)
    while time.time() < end:
        new = [alert for alert in alerts()[seen:] if re.fullmatch(place, where(alert))]
        if rule and any(alert["rule"] == rule for alert in new):
            break
        time.sleep(0.3)
    new = [alert for alert in alerts()[seen:] if re.fullmatch(place, where(alert))]
    loud = [a for a in new if a["priority"] in ("Emergency", "Alert", "Critical", "Error", "Warning")]
    found = [alert for alert in new if alert["rule"] == rule] or loud
    if not found:
        return rule is None, "silence"
    first = found[0]
    fields = first["output_fields"]
    # Names that a controller makes up are others the next time.
    shown = re.sub(r"-[a-z0-9]{8,10}-[a-z0-9]{5}/", "-…/", where(first))
    said = f"{first['rule']} ({first['priority'].upper()}) | `{shown}` | `{fields.get('drift.workload')}`"
    return first["rule"] == rule, said


def main():
    node("down", check=False)
    node("up")
    falco = None
    try:
        node("image", "localhost/bb:1", os.path.join(DIR, "bb"), "sh")
        kubectl("apply", "-f", os.path.join(HERE, "pods.yaml"))
        kubectl("-n", "shop", "wait", "--for=condition=Ready", "pod/web", "pod/mix", "pod/userns", "--timeout=60s")
        kubectl("-n", "shop", "rollout", "status", "deployment/cart", "--timeout=60s")
        execute("mix", "mkdir -p /opt; cp /bin/busybox /opt/before-falco", "proxy")
        falco = start_falco()
        rows, passed = [], 0
        for what, act, rule, place in CASES:
            good, said = play(what, act, rule, place)
            passed += good
            print(("ok    " if good else "FAIL  ") + what + ": " + said, flush=True)
            rows.append(f"| {what} | {said if '|' in said else said + ' | |'} |")
        time.sleep(25)
        # Every alert, those of the source too.
        every = [alert for alert in alerts() if "drift" in alert.get("tags", [])]
        every = [alert for alert in every if of_node(alert)]
        # runc on its way into a container: this node's is not in the namespaces of the machine's first process, by which
        # Drift knows it.
        every = [alert for alert in every if not str(alert["output_fields"].get("proc.name")).startswith("runc:[")]
        lacking = [(alert["rule"], identified(alert), alert["output"][:160]) for alert in every if identified(alert)]
        for item in lacking[:10]:
            print("LACKS ", item)
        sources = {alert["source"] for alert in every}
        print(f"{len(every)} alerts of {sorted(sources)}, {len(every) - len(lacking)} with pod, container, image and workload")
        longest = max((len(json.dumps(alert)) for alert in every), default=0)
        print(f"longest alert: {longest} bytes")
    finally:
        if falco:
            falco.send_signal(signal.SIGINT)
            try:
                falco.wait(20)
            except subprocess.TimeoutExpired:
                falco.kill()
        node("down", check=False)
    if PAGE:
        text = open(PAGE, encoding="utf-8").read()
        table = "| Act | Alert | Where | Workload |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
        begin, end = "<!-- begin: acts -->\n", "<!-- end: acts -->"
        before, rest = text.split(begin)
        with open(PAGE, "w", encoding="utf-8") as out:
            out.write(before + begin + "\n" + table + "\n" + end + rest.split(end)[1])
    failed = len(CASES) - passed + (len(lacking) > 0)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
