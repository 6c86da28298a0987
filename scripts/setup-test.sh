#!/bin/sh
# Installs what the tests with real containers need, as root on Debian or Ubuntu; elsewhere says what is missing.
# Those tests then say themselves what they skip.
set -eu

cd "$(dirname "$0")/.."

# The schemas of Kubernetes, for the manifests in deploy/: from PyPI, in a place of its own.
validate=${CARGO_TARGET_DIR:-target}/tools/kubernetes-validate
validate_version=1.37.0
schemas() {
    [ ! -x "$validate/bin/kubernetes-validate" ] || return 0
    python3 -m venv "$validate" 2> /dev/null &&
        "$validate/bin/pip" install --disable-pip-version-check --quiet "kubernetes-validate==$validate_version" || {
        rm -rf "$validate"
        echo "setup-test: not installed: kubernetes-validate $validate_version, from PyPI" >&2
    }
}
trap schemas EXIT

# command:package
wanted='ip:iproute2 nsenter:util-linux podman:podman containerd:containerd ctr:containerd runc:runc umoci:umoci buildah:buildah
bsdtar:libarchive-tools debootstrap:debootstrap setpriv:util-linux python3:python3
npm:npm strace:strace dockerd:docker.io docker:docker-cli'

missing=
for pair in $wanted; do
    command -v "${pair%%:*}" > /dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
# `make dist` makes a virtual environment; Debian has that apart.
python3 -c 'import ensurepip' 2> /dev/null || missing="$missing python3-venv"
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
[ -n "${missing% }" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null 2>&1; then
    echo "setup-test: not installed: $missing(as root on Debian this script installs them)" >&2
    exit 0
fi

echo "setup-test: installing $missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# Docker's command is a package of its own since Debian 13; before, it comes with the daemon.
case " $missing" in *" docker-cli "*)
    apt-cache show docker-cli > /dev/null 2>&1 ||
        missing="$(printf '%s\n' $missing | sed 's/^docker-cli$/docker.io/' | sort -u | tr '\n' ' ')"
    ;;
esac
# The tests start daemons of their own. The packages' would run beside them, and Docker's changes the packet filter.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"; schemas' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
# shellcheck disable=SC2086 # A list of packages.
apt-get install -q -y --no-install-recommends $missing
case " $missing" in *" docker.io "*)
    # Nor at the machine's next start.
    ! command -v systemctl > /dev/null 2>&1 || systemctl disable --quiet docker.service docker.socket || true
    ;;
esac
