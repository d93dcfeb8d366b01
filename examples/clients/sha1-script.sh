#!/bin/sh
# The client of the script of 2012 (ip.php): the secret never crosses the network, and the address
# is the one that you come from. The clock must be right to a few seconds.
# Prints `good <address>` or `nochg <address>`. Fails where the endpoint refuses.
set -eu
server=https://updates.example.org
user=alice
host=home.dyn.example.org
secret=TheSha1SecretOfYourHost

time=$(date -u '+%Y-%m-%d %H:%M:%S')
hash=$(printf '%s\n%s\n%s\n' "$host" "$time" "$secret" | sha1sum)
hash=${hash%% *}
# The one character of these values that a URL does not take as it is: the space of the time.
date=${time% *}
clock=${time#* }
exec curl -f -sS "$server/ip.php?user=$user&id=$host&timeST=$date%20$clock&hash=$hash"
