#!/bin/sh
# Reports an address, or with none given the one you come from, by GNU wget or busybox wget:
#   ./wget.sh 198.51.100.7
# Prints `good <address>` or `nochg <address>`. Fails where the endpoint refuses.
set -eu
server=https://updates.example.org
host=home.dyn.example.org
key=TheUpdateKeyOfYourHost

# GNU wget sends a key only after a 401, and prints a URL with its key when it is not quiet.
exec wget -q -O - "${server%%://*}://router:$key@${server#*://}/nic/update?hostname=$host&myip=${1-}"
