port 3000
workers 2
pidfile 'tmp/pids/server.pid'
plugin :tmp_restart
