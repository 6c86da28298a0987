#!/bin/sh
# Started by the service.
exec busybox httpd -f -p 8080 -h /config/www
