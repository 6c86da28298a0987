#!/usr/bin/env python3
"""The software bill of materials of the published library, as CycloneDX 1.5 JSON on standard output.

    scripts/sbom.py [--target TRIPLE]

What is linked into libdrift.so and the command: the normal dependencies of both packages for that target, from
`cargo metadata`, with the digests of Cargo.lock. The same sources and SOURCE_DATE_EPOCH give the same bytes.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import tomllib
import uuid

TOP = pathlib.Path(__file__).resolve().parent.parent


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.PIPE).stdout)


def linked(meta, roots):
    """Ids of the packages that end up in the artefact, with their direct dependencies."""
    nodes = {node["id"]: node for node in meta["resolve"]["nodes"]}
    macros = {p["id"] for p in meta["packages"] if any("proc-macro" in t["kind"] for t in p["targets"])}
    found, wanted = {}, list(roots)
    while wanted:
        package = wanted.pop()
        if package in found:
            continue
        # A dependency without a kind is a normal one: not for tests, not for building. Macros run in the compiler.
        found[package] = sorted(
            dep["pkg"]
            for dep in nodes[package]["deps"]
            if dep["pkg"] not in macros and any(kind["kind"] is None for kind in dep["dep_kinds"])
        )
        wanted.extend(found[package])
    return found


def component(package, checksums):
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    described = {
        "type": "library",
        "bom-ref": purl,
        "name": package["name"],
        "version": package["version"],
        "purl": purl,
    }
    if package["license"]:
        # `MIT/Apache-2.0` is the old way to write a choice.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    digest = checksums.get((package["name"], package["version"]))
    if digest:
        described["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package["repository"]:
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def main():
    arguments = argparse.ArgumentParser(description="CycloneDX bill of materials of libdrift.so")
    arguments.add_argument("--target", default="x86_64-unknown-linux-gnu")
    target = arguments.parse_args().target

    meta = metadata(target)
    packages = {package["id"]: package for package in meta["packages"]}
    own = {p["name"]: p["id"] for p in meta["packages"] if p["source"] is None}
    root = own["drift"]
    lock = (TOP / "Cargo.lock").read_bytes()
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.loads(lock.decode())["package"]}
    dependencies = linked(meta, [root, own["drift-cli"]])

    refs = {i: f"pkg:cargo/{packages[i]['name']}@{packages[i]['version']}" for i in dependencies}
    made = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, target + lock.decode())}",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(packages[root], checksums),
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": sorted(
            (component(packages[i], checksums) for i in dependencies if i != root), key=lambda c: c["bom-ref"]
        ),
        "dependencies": sorted(
            ({"ref": refs[i], "dependsOn": sorted(refs[d] for d in deps)} for i, deps in dependencies.items()),
            key=lambda d: d["ref"],
        ),
    }
    print(json.dumps(bom, indent=2))


main()
