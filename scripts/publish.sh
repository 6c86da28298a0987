#!/bin/sh
# Pushes what `make dist` built to an OCI registry with falcoctl, as three artifacts:
#
#     scripts/publish.sh REGISTRY/PREFIX      → REGISTRY/PREFIX/plugin/drift, .../ruleset/drift, .../ruleset/drift-source
#
# tagged with the version, its floating forms (0, 0.1), which `falcoctl artifact follow` follows, and `latest`. Log in first
# (`falcoctl registry auth basic`). PLAIN_HTTP=1 for a registry without TLS, FALCOCTL for another falcoctl, SOURCE for
# the address of the sources, an annotation.
set -eu

fail() {
    echo "publish: $*" >&2
    exit 1
}

[ $# = 1 ] || fail "usage: scripts/publish.sh REGISTRY/PREFIX"
prefix=$1
cd "$(dirname "$0")/.."
falcoctl=${FALCOCTL:-falcoctl}
dist=${DIST:-${CARGO_TARGET_DIR:-target}/dist}
command -v "$falcoctl" > /dev/null 2>&1 || fail "$falcoctl is not installed"
[ -f "$dist/oci/plugin.json" ] || fail "$dist/oci/plugin.json is not there; run \`make dist\`"

# The flags that give an artifact the config layer $dist/oci/$1.json.
flags() {
    python3 - "$dist/oci/$1.json" << 'END'
import json, sys
config = json.load(open(sys.argv[1]))
words = ["--name", config["name"], "--version", config["version"]]
for dependency in config.get("dependencies", []):
    words += ["--depends-on", f"{dependency['name']}:{dependency['version']}"]
for requirement in config.get("requirements", []):
    words += ["--requires", f"{requirement['name']}:{requirement['version']}"]
print(" ".join(words))
END
}

version=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$dist/oci/plugin.json")
# Names without a version mean `latest`.
common="--add-floating-tags --tag latest"
[ -z "${PLAIN_HTTP:-}" ] || common="$common --plain-http"
[ -z "${SOURCE:-}" ] || common="$common --annotation-source $SOURCE"

# Go's names of architectures, which falcoctl asks for.
plugins=
for pair in x86_64:amd64 aarch64:arm64; do
    archive=$dist/oci/plugin-linux-${pair%%:*}.tar.gz
    [ ! -f "$archive" ] || plugins="$plugins $archive --platform linux/${pair##*:}"
done
[ -n "$plugins" ] || fail "no plugin in $dist/oci"

# shellcheck disable=SC2046,SC2086 # Lists of words.
"$falcoctl" registry push --type plugin $common $(flags plugin) "$prefix/plugin/drift:$version" $plugins
# shellcheck disable=SC2046,SC2086
"$falcoctl" registry push --type rulesfile $common $(flags rules) "$prefix/ruleset/drift:$version" "$dist/oci/rules.tar.gz"
# shellcheck disable=SC2046,SC2086
"$falcoctl" registry push --type rulesfile $common $(flags source-rules) "$prefix/ruleset/drift-source:$version" \
    "$dist/oci/source-rules.tar.gz"
