#!/bin/sh
# Reports addresses with a signature instead of an update key (docs/signed-updates.md):
#   UPDATE_URL=https://updates.example.org KEY=update-key.pem \
#       ./signed-update.sh home.dyn.example.org 198.51.100.7 2001:db8::7 2001:db8:1:2::/64
# IPv4 address, IPv6 address and IPv6 prefix in any order; at least one, in lower case, in its
# shortest form. Prints `good <address>` or `nochg <address>`. Fails where the endpoint refuses.
# Needs openssl 3 and curl, and a clock that is right within five minutes.
set -eu
LC_ALL=C
export LC_ALL

name=$1
shift
ipv4='' ipv6='' prefix=''
for value; do
    case $value in
    */*) prefix=$value ;;
    *:*) ipv6=$value ;;
    *) ipv4=$value ;;
    esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

netstring() {
    printf '%s:%s,' "${#1}" "$1"
}

for value in dynhost.dev/signed-update/v1 \
    "$name" "$(date +%s)" "$ipv4" "$ipv6" "$prefix"; do
    netstring "$value"
done >"$work/body"
openssl pkeyutl -sign -rawin -inkey "$KEY" -in "$work/body" -out "$work/signature"
netstring "$(openssl base64 -A -in "$work/signature")" >>"$work/body"

curl --silent --show-error --fail-with-body --data-binary "@$work/body" "$UPDATE_URL/signed/update"
