# The cookie, diagnostics as a probe, a restart.
start --hostname quiet -e RABBITMQ_ERLANG_COOKIE=quietquietquietquiet "$IMAGE"
until_ok in_container gosu rabbitmq rabbitmq-diagnostics -q ping
probe 2 gosu rabbitmq rabbitmq-diagnostics -q ping
in_container rabbitmq-diagnostics -q check_running
in_container gosu rabbitmq rabbitmqctl list_queues
restart
until_ok in_container gosu rabbitmq rabbitmq-diagnostics -q ping
steady 30 rabbitmq-diagnostics -q ping
