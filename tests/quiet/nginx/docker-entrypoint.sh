#!/bin/sh
# Runs every hook of /docker-entrypoint.d in order, then the command.
set -e
log() { [ -n "${QUIET_LOGS:-}" ] || echo "$@"; }
if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    if find /docker-entrypoint.d/ -mindepth 1 -maxdepth 1 -type f -print -quit | read -r _; then
        find /docker-entrypoint.d/ -follow -type f -print | sort -V | while read -r f; do
            case "$f" in
                *.envsh) [ -x "$f" ] && log "sourcing $f" && . "$f" ;;
                *.sh) [ -x "$f" ] && log "launching $f" && "$f" ;;
                *) log "ignoring $f" ;;
            esac
        done
    fi
fi
exec "$@"
