#!/bin/bash
# As root: makes the user as the environment says, and goes on as that user.
set -e
[ $# = 0 ] && set -- bash
if [ "$(id -u)" = 0 ]; then
    if [ "$NB_USER" != jovyan ]; then
        if id jovyan > /dev/null 2>&1; then usermod --home "/home/$NB_USER" --login "$NB_USER" jovyan; fi
    fi
    if [ "$NB_UID" != "$(id -u "$NB_USER")" ] || [ "$NB_GID" != "$(id -g "$NB_USER")" ]; then
        [ "$NB_GID" = "$(id -g "$NB_USER")" ] || groupadd --force --gid "$NB_GID" --non-unique "${NB_GROUP:-$NB_USER}"
        userdel "$NB_USER"
        useradd --no-log-init --home "/home/$NB_USER" --shell /bin/bash --uid "$NB_UID" --gid "$NB_GID" --groups 100 "$NB_USER"
    fi
    if [ "$NB_USER" != jovyan ]; then
        [ -e "/home/$NB_USER" ] || { mkdir "/home/$NB_USER"; cp -a /home/jovyan/. "/home/$NB_USER/"; }
        chown "$NB_UID:$NB_GID" "/home/$NB_USER"
        cd "/home/$NB_USER"
    fi
    if [ "${GRANT_SUDO:-}" = yes ]; then
        echo "$NB_USER ALL=(ALL) NOPASSWD:ALL" >> /etc/sudoers.d/added-by-start-script
    fi
    exec sudo --preserve-env --set-home --user "$NB_USER" LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}" PATH="$PATH" \
        PYTHONPATH="${PYTHONPATH:-}" "$@"
fi
exec "$@"
