#!/bin/sh
# Builds the library, and the command, as they are published: for glibc 2.17, which Falco itself is built for, stripped, linked with nothing
# but glibc. The same sources, toolchain and SOURCE_DATE_EPOCH give the same bytes. In <target>/dist:
#
#   drift-<version>-linux-<arch>.tar.gz             library, command, rules, drop-in, install.sh; share/:
#                                                   man pages and completions
#   drift-<version>-linux-<arch>.cdx.json           its bill of materials (CycloneDX)
#   drift-rules-<version>.tar.gz                    the rules alone
#   SHA256SUMS                                      of all of these
#   oci/                                            the artifacts for an OCI registry; scripts/publish.sh pushes them
#   linux-<arch>/                                   the first archive's files
#
# aarch64 is built where Rust has it (rustup target add aarch64-unknown-linux-gnu). DIST_ARCHS: which to build.
#
# The tools, cargo-zigbuild and zig (a C compiler and linker that knows every glibc), go to <target>/dist-tools, in the
# versions named here, and are installed once.
set -eu

zigbuild_version=0.24.1
zig_version=0.15.2
glibc=2.17

fail() {
    echo "dist: $*" >&2
    exit 1
}

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
tools=$target/dist-tools
dist=$target/dist

command -v cargo > /dev/null 2>&1 || fail "cargo is not installed; see rustup"
command -v python3 > /dev/null 2>&1 || fail "python3 is not installed (Debian: apt-get install python3 python3-venv)"
tar --version 2> /dev/null | grep -q GNU || fail "GNU tar is needed for archives that can be reproduced"

if [ "$("$tools/venv/bin/python" -m ziglang version 2> /dev/null)" != "$zig_version" ]; then
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv" || fail "python3 cannot make a venv (Debian: apt-get install python3-venv)"
    "$tools/venv/bin/pip" install --disable-pip-version-check --quiet "ziglang==$zig_version" ||
        fail "pip could not install ziglang $zig_version"
fi

if [ "$("$tools/bin/cargo-zigbuild" --version 2> /dev/null)" != "cargo-zigbuild $zigbuild_version" ]; then
    CARGO_TARGET_DIR=$tools/build cargo install --locked --quiet --root "$tools" --version "$zigbuild_version" \
        cargo-zigbuild || fail "cargo could not install cargo-zigbuild $zigbuild_version"
    rm -rf "$tools/build"
fi

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || echo 0)}
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ -n "$version" ] || fail "no version in Cargo.toml"

# No path of this machine stays in the library.
rustflags="${RUSTFLAGS:-} --remap-path-prefix=$PWD=drift --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"

# The files of a folder as an archive that can be reproduced.
pack() { # folder archive
    (cd "$1" && LC_ALL=C tar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar \
        --sort=name -cf "$2.tmp" -- *)
    gzip -n -9 < "$2.tmp" > "$2"
    rm "$2.tmp"
    echo "dist: $2"
}

# Files as an archive. An artifact holds one file: falcoctl unpacks all of it beside Falco's own, and the Falco operator
# refuses one that holds several.
pack_files() { # archive files
    archive=$1
    shift
    rm -rf "$dist/tmp"
    mkdir "$dist/tmp"
    cp "$@" "$dist/tmp/"
    chmod 644 "$dist/tmp"/*
    pack "$dist/tmp" "$archive"
    rm -r "$dist/tmp"
}

rm -rf "$dist"
mkdir -p "$dist/oci"

# Man pages and completions are the same everywhere: the command is built for this machine and asked.
drift() {
    cargo run --quiet --locked --package drift-cli --target-dir "$target" -- "$@"
}
share=$dist/share
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" \
    "$share/fish/vendor_completions.d"
drift man "$share/man/man1"
drift completions bash > "$share/bash-completion/completions/drift"
drift completions zsh > "$share/zsh/site-functions/_drift"
drift completions fish > "$share/fish/vendor_completions.d/drift.fish"
chmod -R u=rwX,go=rX "$share"

for arch in ${DIST_ARCHS:-x86_64 aarch64}; do
    triple=$arch-unknown-linux-gnu
    if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
        echo "dist: no $arch: Rust's standard library for it is not installed (rustup target add $triple)" >&2
        continue
    fi
    PATH=$tools/venv/bin:$tools/bin:$PATH RUSTFLAGS=$rustflags CARGO_PROFILE_RELEASE_STRIP=symbols \
        cargo zigbuild --release --locked --package drift --package drift-cli --lib --bin drift --target "$triple.$glibc" --target-dir "$target"

    stage=$dist/linux-$arch
    mkdir "$stage"
    cp "$target/$triple/release/libdrift.so" "$target/$triple/release/drift" "$stage/"
    cp falco.drift_plugin.yaml rules/drift_rules.yaml rules/drift_source_rules.yaml scripts/install.sh LICENSE README.md "$stage/"
    chmod 644 "$stage"/*
    chmod 755 "$stage/drift" "$stage/install.sh"
    cp -R "$share" "$stage/share"
    name=drift-$version-linux-$arch
    pack "$stage" "$dist/$name.tar.gz"
    scripts/sbom.py --target "$triple" > "$dist/$name.cdx.json"

    pack_files "$dist/oci/plugin-linux-$arch.tar.gz" "$stage/libdrift.so"
done
rm -r "$share"
[ -n "$(ls "$dist/oci")" ] || fail "nothing was built: no Rust target for Linux is installed"

pack_files "$dist/drift-rules-$version.tar.gz" rules/drift_rules.yaml rules/drift_source_rules.yaml
pack_files "$dist/oci/rules.tar.gz" rules/drift_rules.yaml
pack_files "$dist/oci/source-rules.tar.gz" rules/drift_source_rules.yaml
scripts/oci.py "$version" "$dist/oci"

(cd "$dist" && sha256sum ./*.tar.gz ./*.cdx.json | sed 's,\./,,' > SHA256SUMS)

# What must hold of a published library is tests/engine/artifact.rs.
DRIFT_DIST=$dist cargo test --quiet --locked --package drift --test engine --target-dir "$target" artifact::the_published ||
    fail "what is in $dist must not be published"
