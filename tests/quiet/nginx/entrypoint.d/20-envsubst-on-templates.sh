#!/bin/sh
# Writes the configuration from templates and the environment.
set -e
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d "$templates" ] || exit 0
[ -w "$output" ] || { echo "$output is not writable"; exit 0; }
defined=$(printf '${%s} ' $(awk 'END { for (name in ENVIRON) print name }' < /dev/null))
find "$templates" -follow -type f -name '*.template' -print | while read -r template; do
    relative="${template#"$templates/"}"
    path="$output/${relative%.template}"
    mkdir -p "$output/$(dirname "$relative")"
    echo "envsubst on $template to $path"
    envsubst "$defined" < "$template" > "$path"
done
