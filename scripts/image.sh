#!/bin/sh
# Builds the init container's image, from scratch and without a network: the library, the rules, and a static program
# that copies them (deploy/image/). With buildah, for this machine's architecture.
#
#     scripts/image.sh [NAME]        default: localhost/drift-init:<version>
#
# Library and command are those of `make dist`, which run with every Falco; LIBRARY and COMMAND name others. BUILDAH: the
# command of that name, with its options. The command `drift` lies beside the library, so that it can be run in Falco's
# container, where the host's files are.
set -eu

fail() {
    echo "image: $*" >&2
    exit 1
}

cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=${1:-localhost/drift-init:$version}
arch=$(uname -m)
target=${CARGO_TARGET_DIR:-target}
library=${LIBRARY:-$target/dist/linux-$arch/libdrift.so}
command=${COMMAND:-$target/dist/linux-$arch/drift}
[ -f "$command" ] || fail "$command is not there; run \`make dist\`, or set COMMAND"
[ -f "$library" ] || fail "$library is not there; run \`make dist\`, or set LIBRARY"
command -v rustc > /dev/null 2>&1 || fail "rustc is not installed; see rustup"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/drift/plugins" "$context/drift/rules"
cp "$library" "$context/drift/plugins/libdrift.so"
cp "$command" "$context/drift/plugins/drift"
cp rules/drift_rules.yaml rules/drift_source_rules.yaml "$context/drift/rules/"
chmod -R u=rwX,go=rX "$context"
rustc --edition 2021 -O -C panic=abort -C strip=symbols -C target-feature=+crt-static \
    --target "$arch-unknown-linux-gnu" --remap-path-prefix "$PWD=drift" -o "$context/copy" deploy/image/copy.rs
chmod 755 "$context/copy"

# --timestamp: the same files give the same image.
# shellcheck disable=SC2086 # A command with options.
${BUILDAH:-buildah} build --quiet --pull=never --network none --timestamp "${SOURCE_DATE_EPOCH:-0}" \
    --file deploy/image/Containerfile --tag "$name" "$context"
echo "image: $name"
