# Pages by a driver, a dump of a page, a restart.
start --shm-size 256m "$IMAGE"
until_ok in_container python3 /opt/bin/pages.py
in_container sh -c 'chromium --headless --no-sandbox --dump-dom http://127.0.0.1:8000/ > /dev/null 2>&1'
probe 2 python3 /opt/bin/pages.py
restart
until_ok in_container pgrep chromedriver
steady 30 python3 /opt/bin/pages.py
