#!/usr/bin/env bash
# Puts the parts of a Kubernetes node into DIR (default: target/kubernetes): kubelet, API server and controller manager built
# from the Go module beside this file (some 15 minutes each with a cold cache on two busy cores, 20 s to link after), and
# containerd, runc, CNI plugins, etcd and kubectl as Debian packages of pinned versions, unpacked privately. Ends with
# `ready`, or says on its last line why it cannot.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../target/kubernetes}
mkdir -p "$dir/bin" "$dir/root" "$dir/debs" && dir=$(cd "$dir" && pwd)
fail() { echo "provision: $*" >&2; exit 1; }

version=$(sed -n 's/^require k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$here/go.mod")
flags="-s -w"
# Without a version at link time kubectl version ends with an error.
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags="$flags -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${version#v1.}"
    flags="$flags -X $package.gitTreeState=clean -X $package.gitCommit=unknown -X $package.buildDate=1970-01-01T00:00:00Z"
done
for program in kubelet kube-apiserver kube-controller-manager; do
    [ ! -x "$dir/bin/$program" ] || continue
    command -v go > /dev/null || fail "Go is not installed, and builds the control plane"
    (cd "$here" && CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath" nice -n 19 go build -ldflags "$flags" \
        -o "$dir/bin/$program" "k8s.io/kubernetes/cmd/$program") || fail "go build of $program"
done

if [ ! -e "$dir/root/.unpacked" ]; then
    mirror=${DRIFT_DEBIAN_MIRROR:-$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | grep -v security | head -n 1)}
    [ -n "$mirror" ] || fail "no Debian mirror is in this machine's apt sources: set DRIFT_DEBIAN_MIRROR"
    apt=$dir/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
    echo "deb $mirror testing main" > "$apt/etc/sources.list"
    : > "$apt/state/status"
    private() {
        apt-get -q -o Dir::Etc::sourcelist="$apt/etc/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State="$apt/state" \
            -o Dir::State::status="$apt/state/status" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root "$@"
    }
    private update > /dev/null || fail "apt-get update of Debian testing"
    (cd "$dir/debs" && private download containerd runc containernetworking-plugins kubectl etcd-server libc6 \
        libseccomp2 > /dev/null) || fail "Debian testing has not all packages"
    for package in "$dir"/debs/*.deb; do dpkg -x "$package" "$dir/root"; done
    # runc of testing wants a newer C library, and executes itself, so that it cannot be run by a loader.
    if ! "$dir/root/usr/sbin/runc" --version > /dev/null 2>&1; then
        (cd "$dir/debs" && apt-get -q download patchelf > /dev/null && dpkg -x patchelf_*.deb "$dir/tools") ||
            fail "patchelf is not to be had, and runc of Debian testing needs it"
        loader=$(find "$dir/root" -name 'ld-linux-*.so.*' | head -n 1)
        "$dir/tools/usr/bin/patchelf" --set-interpreter "$loader" --set-rpath "$(dirname "$loader")" \
            "$dir/root/usr/sbin/runc"
    fi
    touch "$dir/root/.unpacked"
fi
# The content of the image that the pods run.
if [ ! -e "$dir/bb/.made" ]; then
    rm -rf "$dir/bb" "$dir/busybox"
    (mkdir -p "$dir/busybox" && cd "$dir/busybox" && apt-get -q download busybox-static > /dev/null &&
        dpkg -x busybox-static_*.deb .) || fail "busybox-static is not to be had"
    for folder in bin usr/bin etc tmp root opt proc sys dev; do mkdir -p "$dir/bb/$folder"; done
    chmod 1777 "$dir/bb/tmp"
    cp "$(find "$dir/busybox" -path '*bin/busybox' -type f | head -n 1)" "$dir/bb/bin/busybox"
    for name in $("$dir/bb/bin/busybox" --list); do
        [ "$name" = busybox ] || ln -sf busybox "$dir/bb/bin/$name"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' > "$dir/bb/etc/passwd"
    touch "$dir/bb/.made"
fi
echo ready
