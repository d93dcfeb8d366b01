# The script of DuckDNS's install page for Linux cron, with another server. It keeps the last answer,
# OK or KO, in duck.log. Their `-k` is left out: it would hand the key to whoever is in between.
echo url="https://updates.example.org/update?domains=home&token=TheUpdateKeyOfYourHost&ip=" | curl -o ~/duckdns/duck.log -K -
