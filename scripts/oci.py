#!/usr/bin/env python3
"""The OCI config layers of Drift's artifacts, as falcoctl writes and reads them.

    scripts/oci.py VERSION FOLDER

Writes plugin.json, rules.json and source-rules.json. What they require comes from where it is said: the plugin API from the exported
function in src/ffi.rs, engine and plugin from the heads of the rules files.
"""

import json
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
RULES = ["rules/drift_rules.yaml", "rules/drift_source_rules.yaml"]


def only(what, pattern, *files):
    """The one answer that all of these files give."""
    found = {match for name in files for match in re.findall(pattern, (TOP / name).read_text())}
    if len(found) != 1:
        sys.exit(f"oci: {what} in {', '.join(files)}: {sorted(found) or 'nothing'}; one is wanted")
    return found.pop()


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: scripts/oci.py VERSION FOLDER")
    version, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    api = only("the plugin API", r"plugin_get_required_api_version::<(\d+, \d+, \d+)>", "src/ffi.rs")
    engine = only("the engine version", r"(?m)^- required_engine_version: (\S+)$", *RULES)
    plugin = only("the plugin version", r"(?m)^    - name: drift\n      version: (\S+)$", *RULES)
    configs = {
        "plugin": {
            "name": "drift",
            "version": version,
            "requirements": [{"name": "plugin_api_version", "version": api.replace(", ", ".")}],
        },
    }
    for name in ["rules", "source-rules"]:
        configs[name] = {
            "name": f"drift-{name}",
            "version": version,
            "dependencies": [{"name": "drift", "version": plugin}],
            "requirements": [{"name": "engine_version_semver", "version": engine}],
        }
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")


main()
