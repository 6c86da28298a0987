# WordPress beside a database, on the root file system: installation by its page, requests, uploads, cron, a restart.
companion db --env MARIADB_ROOT_PASSWORD=quiet localhost/quiet-mariadb:1
start --network "container:$NAME-db" "$IMAGE"
until_ok in_container curl -fsS -o /dev/null http://127.0.0.1/wp-admin/install.php
in_container curl -fsS -o /dev/null -d 'weblog_title=q&user_name=q&admin_password=q7xQ2wq!x&admin_password2=q7xQ2wq!x&pw_weak=1&admin_email=q@quiet.invalid&blog_public=0' \
    'http://127.0.0.1/wp-admin/install.php?step=2'
probe 5 curl -fsS -o /dev/null http://127.0.0.1/
in_container curl -fsS -o /dev/null http://127.0.0.1/wp-cron.php
in_container sh -c 'apache2ctl graceful'
in_container sh -c 'for i in $(seq 30); do curl -fsS -o /dev/null "http://127.0.0.1/?p=1"; done'
restart
until_ok in_container curl -fsS -o /dev/null http://127.0.0.1/
steady 10 curl -fsS -o /dev/null http://127.0.0.1/
