# Host keys, a user with a password, logins by SFTP, a reload, a restart.
start -e SFTP_USERS=alice:quiet:1001:upload "$IMAGE"
login='sshpass -p quiet sftp -o BatchMode=no -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -b - alice@127.0.0.1'
until_ok in_container sh -c "echo ls | $login"
probe 5 sh -c "echo ls upload | $login"
in_container sh -c "echo 'put /etc/services upload/services' | $login"
in_container sh -c 'kill -HUP 1'
restart
until_ok in_container sh -c "echo ls | $login"
steady 20 sh -c "echo ls | $login"
