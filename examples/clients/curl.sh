#!/bin/sh
# Reports one or more addresses (comma-separated), or with none given the one you come from:
#   UPDATE_URL=https://updates.example.org TOKEN=… ./curl.sh home.dyn.example.org 198.51.100.7,2001:db8::7
# Prints `good <address>` or `nochg <address>`. Fails where the endpoint refuses.
set -eu
# The key is read from standard input, so that no process list shows it.
printf 'user = "router:%s"\n' "$TOKEN" |
    curl --silent --show-error --fail-with-body --config - --get \
        --data-urlencode "hostname=$1" --data-urlencode "myip=${2-}" \
        "$UPDATE_URL/nic/update"
