# As root: migrations and static files at start, requests, reload, probes by python, late imports, a restart.
start "$IMAGE"
check="import urllib.request as u; u.urlopen('http://127.0.0.1:8000/admin/login/').read()"
until_ok in_container python3 -c "$check"
probe 5 python3 -c "$check"
in_container sh -c 'kill -HUP 1'
in_container python3 -m json.tool /dev/null
in_container python3 -c 'import numpy, email.mime.text, sqlite3, xml.dom.minidom, unittest'
in_container /opt/venv/bin/python -c 'import django, asyncio, http.server'
in_container python3 manage.py check
restart
until_ok in_container python3 -c "$check"
steady 10 python3 -c "$check"
