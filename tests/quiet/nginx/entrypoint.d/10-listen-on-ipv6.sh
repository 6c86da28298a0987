#!/bin/sh
# Adds an IPv6 listener to the configuration that the image shipped, where nobody changed it.
set -e
conf=etc/nginx/conf.d/default.conf
[ -f /proc/net/if_inet6 ] || exit 0
[ -f "/$conf" ] || exit 0
touch "/$conf" 2>/dev/null || { echo "can not modify /$conf (read-only file system?)"; exit 0; }
grep -q "listen  \[::\]:80;" "/$conf" && exit 0
dpkg-query --show --showformat='${Conffiles}\n' nginx-common > /dev/null
md5sum "/$conf" > /dev/null
sed -i -E 's,listen       80;,listen       80;\n    listen  [::]:80;,' "/$conf"
