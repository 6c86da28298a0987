# A chroot that is filled, keys, aliases, mail, a reload, a restart.
start "$IMAGE"
until_ok in_container postfix status
probe 5 postfix status
in_container sh -c 'printf "Subject: quiet\n\nquiet\n" | sendmail root@quiet.invalid'
in_container postqueue -p
in_container postfix reload
restart
until_ok in_container postfix status
steady 10 postfix status
