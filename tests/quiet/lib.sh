# What the plays use. scripts/quiet.py sets NAME, IMAGE, FOLDER, WORK, IDS and SECONDS_STEADY, and sources this
# file and a play.sh.
set -eu
AFTER=

# start ARGUMENTS...: the container, with the arguments of `podman run`.
# Limits that a user who may not raise them can set.
LIMITS="--ulimit nofile=4096:4096 --ulimit nproc=20000:20000"
start() { podman run -d --name "$NAME" $LIMITS "$@" >> "$IDS"; }

# companion SUFFIX [--env X] IMAGE: a container that the play needs, and that does not count.
companion() {
    local suffix=$1; shift
    podman run -d --name "$NAME-$suffix" $LIMITS "$@" > /dev/null
    COMPANIONS="${COMPANIONS:-} $NAME-$suffix"
}

in_container() { timeout 90 podman exec "$NAME" "$@" > /dev/null || echo "$NAME: failed: $*"; }

# until_ok COMMAND...: waits until the command succeeds.
until_ok() {
    [ "$1" != in_container ] || shift
    for _ in $(seq 120); do
        if timeout 60 podman exec "$NAME" "$@" > /dev/null 2>&1; then return; fi
        sleep 1
    done
    echo "$NAME: not ready: $*"; podman logs --tail 15 "$NAME" 2>&1 || true
    return 1
}

# probe TIMES COMMAND...: as a kubelet does it, every three seconds.
probe() { local times=$1; shift; for _ in $(seq "$times"); do in_container "$@"; sleep 3; done; }

restart() { podman restart -t 20 "$NAME" > /dev/null; }

# steady INTERVAL COMMAND...: the ordinary time after the start.
steady() {
    local interval=$1 end=$((SECONDS + SECONDS_STEADY)); shift
    while [ "$SECONDS" -lt "$end" ]; do in_container "$@"; sleep "$interval"; done
}

finish() {
    podman stop -t 20 "$NAME" > /dev/null 2>&1 || true
    sleep 3
    podman rm -f -v "$NAME" ${COMPANIONS:-} > /dev/null 2>&1 || true
    $AFTER > /dev/null 2>&1 || true
}
trap finish EXIT
