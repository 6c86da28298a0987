# Boots systemd: journal, timers, cron, rsyslog, sshd, logrotate, a unit that is restarted.
start --systemd=always "$IMAGE"
until_ok in_container sh -c 'systemctl is-system-running | grep -Eq "running|degraded"'
probe 5 systemctl is-system-running
in_container systemctl restart cron
in_container systemctl start logrotate
in_container systemd-tmpfiles --clean
in_container logger quiet
restart
until_ok in_container sh -c 'systemctl is-system-running | grep -Eq "running|degraded"'
steady 10 systemctl is-system-running
