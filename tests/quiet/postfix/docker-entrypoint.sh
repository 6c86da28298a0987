#!/bin/bash
# Settings from the environment, aliases, the chroot's libraries and configuration.
set -e
postconf -e "myhostname=${MAIL_HOST:-quiet.invalid}" "mydestination=localhost,quiet.invalid" maillog_file=/dev/stdout \
    inet_protocols=ipv4 "mynetworks=127.0.0.0/8"
postconf -F '*/*/chroot = y'
postconf -M submission/inet='submission inet n - y - - smtpd'
echo 'root: postmaster' > /etc/aliases
newaliases
chroot=/var/spool/postfix
mkdir -p "$chroot/etc/ssl/certs" "$chroot/lib/x86_64-linux-gnu" "$chroot/usr/lib/zoneinfo"
for f in etc/resolv.conf etc/services etc/hosts etc/nsswitch.conf etc/localtime; do
    [ ! -f "/$f" ] || cp -L --preserve=mode,timestamps "/$f" "$chroot/$f"
done
cp -L /etc/ssl/certs/*.pem "$chroot/etc/ssl/certs/"
cp -L /lib/x86_64-linux-gnu/libnss_* /lib/x86_64-linux-gnu/libresolv* /lib/x86_64-linux-gnu/libgcc_s.so.1 "$chroot/lib/x86_64-linux-gnu/"
opendkim-genkey -D /etc/dkimkeys -d quiet.invalid -s quiet
postfix check
exec "$@"
