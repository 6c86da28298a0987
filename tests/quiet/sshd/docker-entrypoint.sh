#!/bin/bash
# Host keys and users, once.
set -e
mkdir -p /run/sshd
[ -f /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -t ed25519 -f /etc/ssh/ssh_host_ed25519_key -N ''
[ -f /etc/ssh/ssh_host_rsa_key ] || ssh-keygen -t rsa -b 2048 -f /etc/ssh/ssh_host_rsa_key -N ''
chmod 600 /etc/ssh/ssh_host_*_key
if [ ! -f /var/run/sftp-users ] && ! id "${SFTP_USERS%%:*}" > /dev/null 2>&1; then
    for user in $SFTP_USERS; do create-user "$user"; done
fi
exec "$@"
